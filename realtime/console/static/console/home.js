/** The page at `/`: a console in each endpoint that is opened, the token form, and the buttons that copy. */

import { gettext, language } from "../realtime/text.js";
import { Account } from "./account.js";
import { Console } from "./console.js";

/** Consoles that one endpoint can have on the page. */
const MAX_CLIENTS = 4;

/**
 * @template {HTMLElement} T
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {T}
 */
const find = (root, selector) => /** @type {T} */ (root.querySelector(selector));

const data = JSON.parse(find(document, "#realtime-data").textContent ?? "");
/** @type {HTMLFormElement} */
const form = find(document, "[data-account]");
const account = new Account(
  {
    token: form.dataset.tokenUrl ?? "",
    refresh: form.dataset.refreshUrl ?? "",
    ticket: form.dataset.ticketUrl ?? "",
  },
  find(form, "[name=csrfmiddlewaretoken]").getAttribute("value") ?? "",
  data.loggedIn,
);

/** @param {HTMLDetailsElement} details */
function addConsole(details) {
  const consoles = find(details, "[data-consoles]");
  const number = consoles.children.length + 1;
  const added = new Console(data.endpoints[details.dataset.endpoint ?? ""], data.closeCodes, account, number);
  consoles.append(added.root);
  const another = find(added.root, "[data-another]");
  another.hidden = number >= MAX_CLIENTS;
  another.addEventListener("click", () => {
    another.hidden = true;
    find(addConsole(details).root, "[data-connect]").focus();
  });
  return added;
}

for (const details of document.querySelectorAll("details[data-endpoint]")) {
  const open = () => {
    const element = /** @type {HTMLDetailsElement} */ (details);
    if (element.open && !find(element, "[data-consoles]").children.length) addConsole(element);
  };
  details.addEventListener("toggle", open);
  open();
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();

/**
 * Runs an action of the token form and says how it went.
 *
 * @param {() => Promise<string>} action
 */
async function report(action) {
  const status = find(form, "[data-account-status]");
  try {
    status.textContent = await action();
    status.classList.remove("bad");
  } catch (error) {
    status.textContent = /** @type {Error} */ (error).message;
    status.classList.add("bad");
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
function show(name, value) {
  const item = find(form, `[data-secret=${name}]`);
  find(item, "code").textContent = value;
  item.hidden = false;
  find(form, "[data-secrets]").hidden = false;
}

/** @type {HTMLButtonElement} */
const ticketButton = find(form, "[data-ticket]");
ticketButton.disabled = !account.known;
account.addEventListener("change", () => {
  ticketButton.disabled = !account.known;
  show("access", account.access ?? "");
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  report(async () => {
    const fields = new FormData(form);
    fields.delete("csrfmiddlewaretoken");
    await account.signIn(/** @type {Record<string, string>} */ (Object.fromEntries(fields)));
    /** @type {HTMLInputElement} */ (find(form, "[name=password]")).value = "";
    const time = account.expires?.toLocaleTimeString(language()) ?? "";
    return gettext("Token valid until %(time)s. The consoles use it where an endpoint asks for a user.", { time });
  });
});
ticketButton.addEventListener("click", () =>
  report(async () => {
    const { ticket, expires_in: seconds } = await account.ticket();
    show("ticket", ticket);
    return gettext("A ticket for one connection within %(seconds)s seconds. Append it to an address as ?ticket=…", { seconds });
  }),
);

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("[data-copy]");
  if (!button) return;
  const code = find(/** @type {Element} */ (button.closest(".snippet, [data-secret]")), "pre, dd code");
  const label = /** @type {ChildNode} */ (button.firstChild);
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    label.textContent = gettext("Copied");
  } catch {
    getSelection()?.selectAllChildren(code);
    label.textContent = gettext("Selected");
  }
  setTimeout(() => (label.textContent = gettext("Copy")), 2000);
});
