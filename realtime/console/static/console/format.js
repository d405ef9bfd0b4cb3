/** How bytes, sizes and times are written for people. */

import { gettext, language } from "../realtime/text.js";

const encoder = new TextEncoder();

/** Bytes of a hex dump that are shown; the rest is counted. */
const SHOWN_BYTES = 512;
/** Characters of a text frame that are shown; the rest is counted. */
const SHOWN_CHARACTERS = 4000;

/**
 * @param {string} text
 * @returns {number} length in bytes as UTF-8, which is what a frame carries
 */
export const byteLength = (text) => encoder.encode(text).length;

/**
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/**
 * @param {Date} date
 * @returns {string} local time with milliseconds
 */
export function clock(date) {
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  const seconds = `${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  return `${two(date.getHours())}:${two(date.getMinutes())}:${seconds}`;
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} hex, in groups of one byte
 */
export function hex(bytes) {
  const shown = Array.from(bytes.subarray(0, SHOWN_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return shown + rest(bytes.length - SHOWN_BYTES, (values) => gettext(" … and %(count)s more bytes", values));
}

/**
 * @param {string} text
 * @returns {string} the beginning of a long text
 */
export const excerpt = (text) => text.slice(0, SHOWN_CHARACTERS) + rest(text.length - SHOWN_CHARACTERS, (values) => gettext(" … and %(count)s more characters", values));

/**
 * @param {string} text hex digits; spaces, commas, colons and 0x are skipped
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {SyntaxError} names what is no hex digit
 */
export function parseHex(text) {
  const digits = text.replace(/0x|[\s,:]/gi, "");
  const wrong = digits.match(/[^0-9a-f]/i);
  if (wrong) throw new SyntaxError(gettext("“%(digit)s” is not a hex digit. Write bytes like 00 ff 7a.", { digit: wrong[0] }));
  if (digits.length % 2) throw new SyntaxError(gettext("Half a byte is missing: write two hex digits for each."));
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/**
 * @param {number} count
 * @param {(values: {count: string}) => string} write
 */
const rest = (count, write) => (count > 0 ? write({ count: count.toLocaleString(language()) }) : "");
