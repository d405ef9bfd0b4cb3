/** The chat page: one room, its messages, its people, and the state of the connection in words. */

import { RoomsClient } from "./client.js";
import { MessageList } from "./messagelist.js";
import { sessionTickets } from "../realtime/ticket.js";

/**
 * @template {HTMLElement} T
 * @param {string} selector
 * @returns {T}
 */
const find = (selector) => /** @type {T} */ (document.querySelector(selector));

const data = JSON.parse(find("#realtime-data").textContent ?? "");
const { room, me } = data;
const csrf = find("[name=csrfmiddlewaretoken]").getAttribute("value") ?? "";

const client = new RoomsClient({
  url: data.url,
  closeCodes: data.closeCodes,
  ticket: me === null ? null : sessionTickets(data.ticketUrl, csrf),
  retry: me !== null,
});
const log = find("[data-log]");
const list = new MessageList(log, me ?? "");

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
  if (phase === "open") setStatus("Connected");
  if (phase === "connecting") setStatus("Connecting…");
  if (phase === "stopped") setStatus(reason || data.closeCodes[code ?? ""]?.meaning || "Disconnected.");
  if (phase === "waiting") countDown(Date.now() + (delay ?? 0));
}

/** @param {number} end */
function countDown(end) {
  const why = navigator.onLine ? "Connection lost" : "You are offline";
  // A screen reader hears that once; the seconds are for the eye.
  setStatus(`${why}. What you write is sent when it is back.`);
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
  const names = [...people].sort((a, b) => a.localeCompare(b));
  find("[data-people]").replaceChildren(
    ...names.map((name) => {
      const item = document.createElement("li");
      item.dir = "auto";
      item.textContent = name === me ? `${name} (you)` : name;
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
  find("[data-older]").textContent = "Loading…";
  try {
    const messages = await client.history(room, first);
    list.prepend(messages);
    setComplete(messages.length === 0 || messages[0].seq === 1);
  } catch (error) {
    say(/** @type {Error} */ (error).message);
  } finally {
    loading = false;
    find("[data-older]").textContent = "Show earlier messages";
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
on("joined", ({ messages, recovered, members, seq }) => {
  if (recovered) messages.forEach((/** @type {any} */ message) => list.append(message));
  else list.replace(messages);
  if (!recovered) setComplete(messages.length === seq || messages.length === 0);
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
on("failed", (draft) => list.markFailed(draft));
on("hidden", ({ seq }) => list.hide(seq));
on("presence", ({ user, state }) => {
  if (state === "joined") people.add(user);
  else people.delete(user);
  showPeople();
});
on("left", () => {
  say("You are no longer in this room.");
  people.clear();
  showPeople();
});
on("refused", ({ detail }) => say(detail));

list.addEventListener("retry", (event) => send(/** @type {CustomEvent} */ (event).detail));
list.addEventListener("unread", (event) => {
  const count = /** @type {CustomEvent} */ (event).detail;
  const button = find("[data-unread]");
  button.hidden = count === 0;
  button.textContent = count === 1 ? "1 new message" : `${count} new messages`;
});
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
    say(error.message);
    return false;
  }
}

/** @type {HTMLFormElement | null} */
const form = document.querySelector("[data-composer]");
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
