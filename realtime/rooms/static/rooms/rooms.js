/** The chat page: one room, its messages, its people, and the state of the connection in words. */

import { RoomsClient } from "./client.js";
import { MessageList } from "./messagelist.js";
import { gettext, language, ngettext } from "../realtime/text.js";
import { sessionTickets } from "../realtime/ticket.js";

/** Messages that one look back shows. */
const PAGE = 50;

/**
 * @template {HTMLElement} T
 * @param {string} selector
 * @returns {T}
 */
const find = (selector) => /** @type {T} */ (document.querySelector(selector));

const data = JSON.parse(find("#realtime-data").textContent ?? "");
const { room, me, isAnonymous } = data;
const csrf = find("[name=csrfmiddlewaretoken]").getAttribute("value") ?? "";

const client = new RoomsClient({
  url: data.url,
  closeCodes: data.closeCodes,
  ticket: isAnonymous ? null : sessionTickets(data.ticketUrl, csrf),
  retry: !isAnonymous,
});
const log = find("[data-log]");
const list = new MessageList(log, me);

/** @type {HTMLFormElement | null} */
const form = document.querySelector("[data-composer]");

// What this person may do

/**
 * Turns the composer on, or off with the reason for it.
 *
 * @param {string} reason empty to turn it on
 */
function setWriting(reason) {
  if (!form) return;
  for (const element of form.elements) /** @type {HTMLButtonElement | HTMLTextAreaElement} */ (element).disabled = reason !== "";
  find("[data-off]").hidden = reason === "";
  find("[data-off] [data-reason]").textContent = reason;
}

/**
 * Asks the server why this person may not write, in the words and the language of its pages.
 *
 * @param {boolean} [mayPost] what the socket has said
 * @param {string} [otherwise] the reason, where the page gives none
 */
async function askForRights(mayPost = false, otherwise = gettext("You may not write in this room any more.")) {
  // A page that was loaded without a composer gets one; there is no draft that could be lost.
  if (mayPost && !form) return location.reload();
  if (mayPost) return setWriting("");
  setWriting(otherwise);
  try {
    const response = await fetch(location.pathname, { headers: { accept: "text/html" }, cache: "no-store" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    setWriting(page.querySelector("[data-reason]")?.textContent?.trim() || otherwise);
  } catch {
    // The connection says that the server is away.
  }
}

// The state of the connection

/** @type {ReturnType<typeof setInterval> | undefined} */
let countdown;

/** @param {string} text */
const setStatus = (text) => (find("[data-status]").textContent = text);

/** @param {import("../realtime/connection.js").State} state */
function showState({ phase, code, reason, delay }) {
  clearInterval(countdown);
  find("[data-connection]").dataset.phase = phase;
  find("[data-again]").hidden = phase !== "stopped" && phase !== "waiting";
  if (phase === "open") setStatus(gettext("Connected"));
  if (phase === "connecting") setStatus(gettext("Connecting…"));
  if (phase === "stopped") {
    setStatus(gettext(reason || (data.closeCodes[code ?? ""]?.meaning ?? "Disconnected.")));
    setWriting(find("[data-status]").textContent ?? "");
  }
  if (phase === "waiting") countDown(Date.now() + (delay ?? 0));
}

/** @param {number} end */
function countDown(end) {
  // A screen reader hears that once; the seconds are for the eye.
  setStatus(
    navigator.onLine
      ? gettext("Connection lost. What you write is sent when it is back.")
      : gettext("You are offline. What you write is sent when you are back."),
  );
  const seconds = find("[data-seconds]");
  const tick = () => (seconds.textContent = String(Math.max(0, Math.ceil((end - Date.now()) / 1000))));
  tick();
  countdown = setInterval(tick, 1000);
}

// The people

/** @type {Set<string>} */
const people = new Set();

function showPeople() {
  find("[data-count]").textContent = String(people.size);
  const names = [...people].sort((a, b) => a.localeCompare(b, language()));
  find("[data-people]").replaceChildren(
    ...names.map((name) => {
      const item = document.createElement("li");
      item.dir = "auto";
      item.textContent = name === me ? gettext("%(name)s (you)", { name }) : name;
      return item;
    }),
  );
}

// The messages

let complete = false;
let loading = false;

async function loadOlder() {
  const first = list.first;
  if (loading || complete || first === null || client.state.phase !== "open") return;
  loading = true;
  find("[data-older]").textContent = gettext("Loading…");
  try {
    // One more than is shown says whether there is another page.
    const messages = await client.history(room, first, PAGE + 1);
    list.prepend(messages.slice(-PAGE));
    setComplete(messages.length <= PAGE);
  } catch (error) {
    say(gettext(/** @type {Error} */ (error).message));
  } finally {
    loading = false;
    find("[data-older]").textContent = gettext("Show earlier messages");
  }
}

/** Finds out whether there is a message before the first one; hidden and deleted ones leave gaps in the numbers. */
async function lookBack() {
  const { first } = list;
  setComplete(true);
  if (first === null || first === 1) return;
  try {
    setComplete((await client.history(room, first, 1)).length === 0);
  } catch {
    setComplete(false); // the button asks again, and says what is wrong
  }
}

/** @param {boolean} value */
function setComplete(value) {
  complete = value;
  find("[data-older]").hidden = value;
}

/**
 * Shows an error in words, or none.
 *
 * @param {string} text
 */
const say = (text) => (find("[data-error]").textContent = text);

/**
 * @param {string} type
 * @param {(detail: any) => void} handler
 */
const on = (type, handler) => client.addEventListener(type, (event) => handler(/** @type {CustomEvent} */ (event).detail));

on("state", showState);
on("joined", ({ messages, recovered, members }) => {
  if (recovered) messages.forEach((/** @type {any} */ message) => list.append(message));
  else list.replace(messages);
  if (!recovered) lookBack();
  setWriting("");
  people.clear();
  members.forEach((/** @type {string} */ name) => people.add(name));
  showPeople();
  find("[data-empty]").hidden = list.first !== null || client.pending > 0;
  say("");
});
on("message", (message) => {
  find("[data-empty]").hidden = true;
  list.append(message);
});
on("sent", (ack) => list.markSent(ack));
on("failed", (draft) => {
  list.markFailed({ ...draft, detail: gettext(draft.detail) });
  if (draft.code === "forbidden") askForRights();
});
on("hidden", ({ seq }) => list.hide(seq));
on("presence", ({ user, state }) => {
  if (state === "joined") people.add(user);
  else people.delete(user);
  showPeople();
});
on("access", ({ may_post: mayPost }) => askForRights(mayPost));
on("left", () => {
  askForRights(false, gettext("You are no longer in this room."));
  people.clear();
  showPeople();
});
on("refused", ({ code, detail }) => {
  if (code === "forbidden" || code === "unknown_room") askForRights(false, gettext(detail));
  else say(gettext(detail));
});

list.addEventListener("retry", (event) => send(/** @type {CustomEvent} */ (event).detail));
list.addEventListener("unread", (event) => {
  const count = /** @type {CustomEvent} */ (event).detail;
  const button = find("[data-unread]");
  button.hidden = count === 0;
  button.textContent = ngettext("%(count)s new message", "%(count)s new messages", count);
});
list.addEventListener("trimmed", () => setComplete(false));
find("[data-unread]").addEventListener("click", () => list.toEnd());
find("[data-older]").addEventListener("click", loadOlder);
find("[data-again]").addEventListener("click", () => client.start());
log.addEventListener("scroll", () => log.scrollTop < 200 && loadOlder(), { passive: true });

// Writing

/** @param {{ref?: string, content: string}} draft */
function send({ ref, content }) {
  try {
    list.addPending({ ref: client.say(room, content, ref), content });
    find("[data-empty]").hidden = true;
    say("");
    return true;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    say(gettext(error.message));
    return false;
  }
}

if (form) {
  const field = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("content"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim() && send({ content: field.value.trim() })) field.value = "";
    field.focus();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

client.join(room);
client.start();
