/** The messages of one room on the screen: in the order of their numbers, what is not acknowledged yet at the end. */

import { gettext, language } from "../realtime/text.js";

/** Messages that stay on the page while it shows the newest; older ones can be had again by scrolling up. */
const LIMIT = 500;
/** Milliseconds within which messages of one person are shown as one paragraph. */
const TOGETHER = 5 * 60_000;
/** Distance in pixels from the end at which the list follows new messages. */
const NEAR = 80;

const LINK = /https?:\/\/[^\s<>"]+[^\s<>".,:;!?')\]}]/g;

const clockFormat = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(language(), { dateStyle: "full" });

/**
 * @typedef {{seq: number, user: string, content: string, at: string}} Message
 * @typedef {{ref: string, content: string}} Draft
 */

export class MessageList extends EventTarget {
  #root;
  #me;
  #template = /** @type {HTMLTemplateElement} */ (document.getElementById("message-template"));
  /** @type {Map<number, HTMLElement>} */ #bySeq = new Map();
  /** @type {Map<string, HTMLElement>} */ #byRef = new Map();

  /**
   * Events: `retry` with a `Draft`; `unread` with the number of messages below the screen; `trimmed`
   * when old messages were taken away.
   *
   * @param {HTMLElement} root the scrolling element with role="log"
   * @param {string} me the user's name
   */
  constructor(root, me) {
    super();
    this.#root = root;
    this.#me = me;
    this.unread = 0;
    root.addEventListener("scroll", () => this.#isAtEnd() && this.#setUnread(0), { passive: true });
  }

  /** The lowest number that is shown; null where nothing is. */
  get first() {
    const seqs = [...this.#bySeq.keys()];
    return seqs.length ? Math.min(...seqs) : null;
  }

  /** @param {Message[]} messages replace everything that is stored */
  replace(messages) {
    for (const element of this.#bySeq.values()) element.remove();
    this.#bySeq.clear();
    this.#quietly(() => messages.forEach((message) => this.#insert(message)));
    this.toEnd();
  }

  /** @param {Message} message the newest */
  append(message) {
    const follow = this.#isAtEnd();
    this.#insert(message);
    if (follow) {
      this.#trim();
      this.toEnd();
    } else if (message.user !== this.#me) this.#setUnread(this.unread + 1);
  }

  /** @param {Message[]} messages older than all that are shown; what is on the screen stays where it is */
  prepend(messages) {
    const fromEnd = this.#root.scrollHeight - this.#root.scrollTop;
    this.#quietly(() => messages.forEach((message) => this.#insert(message)));
    this.#root.scrollTop = this.#root.scrollHeight - fromEnd;
  }

  /** @param {Draft} draft is on its way */
  addPending({ ref, content }) {
    this.#byRef.get(ref)?.remove();
    const element = this.#element({ seq: Infinity, user: this.#me, content, at: new Date().toISOString() });
    this.#byRef.set(ref, element);
    this.#root.append(element);
    this.#mark(element, "pending", gettext("Sending…"));
    this.#group(element);
    this.toEnd();
  }

  /** @param {{ref: string | null, seq: number, at: string}} ack */
  markSent({ ref, seq, at }) {
    const element = this.#byRef.get(ref ?? "");
    if (!element) return;
    this.#byRef.delete(ref ?? "");
    const content = element.dataset.content ?? "";
    element.remove();
    // It may be there already, when the connection broke before the acknowledgement and the room was read again.
    const shown = this.#bySeq.get(seq) ?? this.#insert({ seq, user: this.#me, content, at });
    this.#mark(shown, "sent", gettext("Sent"));
    if (this.#isAtEnd()) this.toEnd();
  }

  /** @param {Draft & {detail: string, uncertain: boolean}} draft could not be sent, or nobody knows whether it was */
  markFailed({ ref, content, detail, uncertain }) {
    const element = this.#byRef.get(ref);
    if (!element) return;
    this.#mark(element, "failed", `${uncertain ? gettext("It may not have arrived.") : gettext("Not sent.")} ${detail}`);
    const retry = document.createElement("button");
    retry.type = "button";
    retry.className = "quiet";
    retry.textContent = gettext("Send again");
    retry.addEventListener("click", () => this.dispatchEvent(new CustomEvent("retry", { detail: { ref, content } })));
    element.querySelector(".mark-text")?.append(" ", retry);
    this.toEnd();
  }

  /** @param {number} seq of a message that a moderator has hidden */
  hide(seq) {
    const element = this.#bySeq.get(seq);
    const next = element?.nextElementSibling;
    element?.remove();
    this.#bySeq.delete(seq);
    this.#group(next);
  }

  toEnd() {
    this.#root.scrollTop = this.#root.scrollHeight;
    this.#setUnread(0);
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#root;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  /** @param {number} count */
  #setUnread(count) {
    if (count === this.unread) return;
    this.unread = count;
    this.dispatchEvent(new CustomEvent("unread", { detail: count }));
  }

  /**
   * Changes the list without a screen reader reading all of it aloud.
   *
   * @param {() => void} change
   */
  #quietly(change) {
    this.#root.setAttribute("aria-busy", "true");
    change();
    this.#root.removeAttribute("aria-busy");
  }

  /**
   * @param {Message} message
   * @returns {HTMLElement}
   */
  #insert(message) {
    const known = this.#bySeq.get(message.seq);
    if (known) return known;
    const element = this.#element(message);
    let before = this.#root.lastElementChild;
    while (before && Number(/** @type {HTMLElement} */ (before).dataset.seq) > message.seq) before = before.previousElementSibling;
    if (before) before.after(element);
    else this.#root.prepend(element);
    this.#bySeq.set(message.seq, element);
    this.#group(element);
    this.#group(element.nextElementSibling);
    return element;
  }

  /**
   * @param {Message} message
   * @returns {HTMLElement}
   */
  #element({ seq, user, content, at }) {
    const fragment = /** @type {DocumentFragment} */ (this.#template.content.cloneNode(true));
    const element = /** @type {HTMLElement} */ (fragment.firstElementChild);
    const find = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (element.querySelector(selector));
    const date = new Date(at);
    Object.assign(element.dataset, { seq: String(seq), user, at, content });
    element.classList.toggle("own", user === this.#me);
    find(".author").textContent = user === this.#me ? gettext("%(name)s (you)", { name: user }) : user;
    const time = /** @type {HTMLTimeElement} */ (find("time"));
    time.dateTime = at;
    time.textContent = clockFormat.format(date);
    time.title = date.toLocaleString(language());
    find(".day").textContent = dayFormat.format(date);
    find(".content").append(...withLinks(content));
    return element;
  }

  /**
   * Shows author and day only where they change.
   *
   * @param {Element | null | undefined} item
   */
  #group(item) {
    if (!(item instanceof HTMLElement) || !item.dataset.at) return;
    const before = item.previousElementSibling instanceof HTMLElement ? item.previousElementSibling.dataset : {};
    const date = new Date(item.dataset.at);
    const sameDay = before.at !== undefined && new Date(before.at).toDateString() === date.toDateString();
    const near = before.at !== undefined && date.getTime() - new Date(before.at).getTime() < TOGETHER;
    item.classList.toggle("follows", sameDay && near && before.user === item.dataset.user);
    /** @type {HTMLElement} */ (item.querySelector(".day")).hidden = sameDay;
  }

  /**
   * @param {HTMLElement} element
   * @param {string} state
   * @param {string} text
   */
  #mark(element, state, text) {
    element.dataset.state = state;
    /** @type {HTMLElement} */ (element.querySelector(".mark-text")).textContent = text;
  }

  #trim() {
    if (this.#bySeq.size <= LIMIT) return;
    for (const [seq, element] of this.#bySeq) {
      if (this.#bySeq.size <= LIMIT) break;
      element.remove();
      this.#bySeq.delete(seq);
    }
    this.dispatchEvent(new Event("trimmed"));
  }
}

/**
 * Splits a text into text nodes and links. Nothing of it is ever read as markup.
 *
 * @param {string} text
 * @returns {(string | HTMLAnchorElement)[]}
 */
function withLinks(text) {
  const parts = [];
  let end = 0;
  for (const { 0: address, index } of text.matchAll(LINK)) {
    if (!URL.canParse(address)) continue;
    const link = document.createElement("a");
    link.href = address;
    link.rel = "noopener noreferrer nofollow ugc";
    link.target = "_blank";
    link.textContent = address;
    parts.push(text.slice(end, index), link);
    end = index + address.length;
  }
  return [...parts, text.slice(end)];
}
