/** The log of a console: one row for each frame, drawn in batches and bounded. */

import { gettext, ngettext } from "../realtime/text.js";
import { clock, size } from "./format.js";

/** Rows that are kept; older ones are counted. */
const LIMIT = 500;
/** Milliseconds between two drawings, so that a burst of frames does not hold up the page. */
const INTERVAL = 16;

const SPOKEN = { out: gettext("sent"), in: gettext("received"), note: "", bad: gettext("problem") };

/**
 * @typedef {"in" | "out" | "note" | "bad"} Direction
 * @typedef {{direction: Direction, kind: string, bytes: number | null, payload: string, time: Date}} Row
 */

export class FrameLog {
  #root;
  #rowTemplate = /** @type {HTMLTemplateElement} */ (document.getElementById("frame-template"));
  /** @type {Row[]} */ #waiting = [];
  #dropped = 0;

  /** @param {HTMLElement} root the element with role="log" */
  constructor(root) {
    this.#root = root;
  }

  /**
   * @param {Direction} direction
   * @param {string} kind `text`, `binary`, `close`, …
   * @param {string} payload
   * @param {number | null} [bytes] size of a frame's payload
   */
  add(direction, kind, payload, bytes = null) {
    if (this.#waiting.push({ direction, kind, bytes, payload, time: new Date() }) === 1) {
      setTimeout(() => this.#draw(), INTERVAL);
    }
  }

  clear() {
    this.#waiting.length = 0;
    this.#dropped = 0;
    this.#root.querySelectorAll(".frame").forEach((row) => row.remove());
    this.#tellDropped();
  }

  #draw() {
    const rows = this.#waiting.splice(0);
    const root = this.#root;
    const atEnd = root.scrollHeight - root.scrollTop - root.clientHeight < 40;
    this.#dropped += Math.max(0, rows.length - LIMIT);
    root.append(...rows.slice(-LIMIT).map((row) => this.#row(row)));
    const drawn = root.getElementsByClassName("frame");
    for (; drawn.length > LIMIT; this.#dropped += 1) drawn[0].remove();
    this.#tellDropped();
    if (atEnd) root.scrollTop = root.scrollHeight;
  }

  #tellDropped() {
    const note = /** @type {HTMLElement} */ (this.#root.querySelector("[data-empty]"));
    const empty = this.#root.getElementsByClassName("frame").length === 0;
    note.hidden = !empty && this.#dropped === 0;
    note.textContent = empty
      ? gettext("Frames appear here.")
      : ngettext("%(count)s earlier row is not kept.", "%(count)s earlier rows are not kept.", this.#dropped);
  }

  /** @param {Row} row */
  #row({ direction, kind, bytes, payload, time }) {
    const fragment = /** @type {DocumentFragment} */ (this.#rowTemplate.content.cloneNode(true));
    const root = /** @type {HTMLElement} */ (fragment.firstElementChild);
    const set = (/** @type {string} */ selector, /** @type {string} */ text) => {
      /** @type {HTMLElement} */ (root.querySelector(selector)).textContent = text;
    };
    root.dataset.direction = direction;
    set("[data-direction]", SPOKEN[direction]);
    set("[data-kind]", kind);
    set("[data-size]", bytes === null ? "" : size(bytes));
    set("[data-payload]", payload);
    set("time", clock(time));
    return fragment;
  }
}
