/**
 * Rooms in a browser: joins them, takes up each where it left off, and sends every message until it is acknowledged.
 *
 *     import { RoomsClient } from "/static/rooms/client.js";
 *     const client = new RoomsClient({ url: "/ws/rooms", closeCodes });
 *     client.addEventListener("message", ({ detail }) => console.log(detail.user, detail.content));
 *     client.join("lobby");
 *     client.start();
 *     client.say("lobby", "hello");
 */

import { RoomsSocket } from "../client/rooms.js";
import { SignedOut, pause } from "../realtime/connection.js";
import { PASSING } from "../realtime/topics.js";

export { SignedOut };

/** Messages that may wait for their acknowledgement. */
const OUTBOX_LIMIT = 200;
/** Milliseconds before the end of a token's life at which a new one is sent. */
const RENEW_BEFORE = 30_000;
/** A longer timer fires at once (HTML, 8.7: a signed 32-bit number of milliseconds). */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * @typedef {import("../client/rooms.js").Ack} Ack
 * @typedef {import("../client/rooms.js").Chat} Chat
 * @typedef {import("../client/rooms.js").Error} Refusal
 * @typedef {import("../client/rooms.js").Joined} Joined
 * @typedef {import("../realtime/connection.js").ConnectionOptions} ConnectionOptions
 *
 * @typedef {object} RoomsOptions
 * @property {boolean} [retry] send again, after a break, what was transmitted and not acknowledged; the server knows a
 *   repetition of a signed-in user's message by its `ref`. Off for anonymous users: without a cookie they get a new
 *   identity after a break.
 * @property {(() => Promise<{token: string, expires: Date} | null>) | null} [token] gets an access token, a new one if the
 *   last is about to expire
 * @property {number} [renewBefore] milliseconds before the end of a token's life at which the next one is sent
 *
 * @typedef {object} Outgoing
 * @property {string} ref
 * @property {string} room
 * @property {string} content
 * @property {number} attempt
 * @property {boolean} transmitted on this connection, and not answered yet
 * @property {boolean} uncertain whether the server may have stored it without an answer
 */

/**
 * A connection to `/ws/rooms`. Events, each with a `detail`:
 *
 * - `state`: the connection's `State`
 * - `joined`: `Joined`; its `messages` are what was missed if `recovered`, else they replace what is shown
 * - `message`: `Chat`, once for each message and in the order of `seq`
 * - `sent`: `{ref, room, seq, at}`; `failed`: `{ref, room, content, code, detail, uncertain}`, `code` of the server's
 *   `Error` or null, `uncertain` where it may have arrived
 * - `presence`: `Presence`; `access`: `Access`; `left`: `Left`; `hidden`: `Hidden`; `authenticated`: `Authenticated`
 * - `refused`: `Error` that belongs to no message of this client
 */
export class RoomsClient extends EventTarget {
  #socket;
  #retry;
  #token;
  #renewBefore;
  #random;
  /** @type {Map<string, import("../realtime/topics.js").Subscription<Joined, Chat>>} */ #rooms = new Map();
  /** @type {Map<string, Outgoing>} */ #outbox = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #renewal;

  /** @param {ConnectionOptions & RoomsOptions} options */
  constructor({ retry = true, token = null, renewBefore = RENEW_BEFORE, ...options }) {
    super();
    this.#renewBefore = renewBefore;
    this.#retry = retry;
    this.#token = token;
    this.#random = options.random ?? Math.random;
    this.#socket = new RoomsSocket(options);
    this.#socket.addEventListener("state", (event) => this.#stateChanged(/** @type {CustomEvent} */ (event).detail));
    this.#socket.addEventListener("open", () => this.#authenticate(false));
    this.#socket.on("Ack", (message) => this.#acknowledged(message));
    this.#socket.on("Error", (message) => this.#refused(message));
    for (const type of /** @type {const} */ (["Left", "Access", "Presence", "Hidden", "Authenticated"])) {
      this.#socket.on(type, (message) => this.#emit(type.toLowerCase(), message));
    }
  }

  /** The state of the connection. */
  get state() {
    return this.#socket.state;
  }

  /** Messages that wait for their acknowledgement. */
  get pending() {
    return this.#outbox.size;
  }

  start() {
    this.#socket.start();
  }

  stop() {
    clearTimeout(this.#renewal);
    this.#socket.stop();
  }

  /** @param {string} room */
  join(room) {
    if (this.#rooms.has(room)) return;
    const subscription = this.#socket.subscribe(room);
    this.#rooms.set(room, subscription);
    subscription.on("joined", (message) => this.#joined(message));
    subscription.on("message", (message) => this.#emit("message", message));
    subscription.on("left", (error) => this.#drop(room, error?.detail ?? "You are no longer in this room."));
  }

  /**
   * Leaves a room. What did not go out yet fails; what did is still acknowledged.
   *
   * @param {string} room
   */
  leave(room) {
    const subscription = this.#rooms.get(room);
    this.#drop(room, "You left the room.");
    subscription?.leave();
  }

  /**
   * Sends a message now or as soon as the room is entered, until its `Ack` comes. `sent` or `failed` reports the end.
   *
   * @param {string} room
   * @param {string} content
   * @param {string} [ref] of a message that failed and is sent again
   * @returns {string} its reference
   * @throws {RangeError} when too many messages wait already, or for a room that was not joined
   */
  say(room, content, ref = crypto.randomUUID()) {
    if (this.#outbox.size >= OUTBOX_LIMIT) throw new RangeError(`${OUTBOX_LIMIT} messages are waiting to be sent.`);
    if (!this.#rooms.has(room)) throw new RangeError(`You are not in the room ${room}.`);
    const message = { ref, room, content, attempt: 0, transmitted: false, uncertain: false };
    this.#outbox.set(ref, message);
    this.#transmit(message);
    return ref;
  }

  /**
   * Asks for older messages.
   *
   * @param {string} room
   * @param {number} before the number that the newest of them is under
   * @param {number} [limit]
   * @returns {Promise<Chat[]>} oldest first; empty at the beginning of the room
   * @throws {Error} without a connection, or when the server refuses
   */
  async history(room, before, limit = 50) {
    if (this.state.phase !== "open") throw new Error("There is no connection.");
    return (await this.#socket.request({ type: "History", room, before, limit })).messages;
  }

  /** @param {import("../realtime/connection.js").State} state */
  #stateChanged(state) {
    if (state.phase === "waiting" || state.phase === "stopped") this.#interrupted(state);
    this.#emit("state", state);
  }

  /** @param {import("../realtime/connection.js").State} state */
  #interrupted({ phase, reason }) {
    clearTimeout(this.#renewal);
    const detail = reason || "The connection ended before the message was acknowledged.";
    for (const message of [...this.#outbox.values()]) {
      message.uncertain ||= message.transmitted;
      message.transmitted = false;
      const isSentLater = this.#rooms.has(message.room) && (this.#retry || !message.uncertain);
      if (phase === "stopped" || !isSentLater) this.#fail(message.ref, detail);
    }
  }

  /**
   * Plans the next renewal of the token, and sends the present one if asked to.
   *
   * @param {boolean} send
   */
  async #authenticate(send) {
    let access;
    try {
      access = this.#token && (await this.#token());
    } catch {
      // The server closes with 3000 when the token has run out, and the ticket for the next attempt says what is wrong.
      return;
    }
    if (!access) return;
    if (send) this.#socket.send({ type: "Authenticate", token: access.token, ref: "authenticate" });
    const delay = Math.max(0, access.expires.getTime() - Date.now() - this.#renewBefore);
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => this.#authenticate(true), Math.min(delay, LONGEST_TIMER));
  }

  /**
   * Sends a message, unless its room has to be entered first; `#joined()` sends it then.
   *
   * @param {Outgoing} message
   */
  #transmit(message) {
    const { ref, room, content } = message;
    if (!this.#rooms.get(room)?.entered) return;
    message.transmitted = true;
    this.#socket.send({ type: "Chat", ref, room, content });
  }

  /** @param {Joined} message */
  #joined(message) {
    this.#emit("joined", message);
    for (const waiting of this.#outbox.values()) {
      if (waiting.room === message.room && !waiting.transmitted) this.#transmit(waiting);
    }
  }

  /** @param {Ack} message */
  #acknowledged(message) {
    if (message.ref !== null && this.#outbox.delete(message.ref)) this.#emit("sent", message);
  }

  /** @param {Refusal} error */
  #refused(error) {
    const message = this.#outbox.get(error.ref ?? "");
    if (message) this.#messageRefused(message, error);
    else this.#emit("refused", error);
  }

  /**
   * @param {Outgoing} message
   * @param {Refusal} error
   */
  #messageRefused(message, { code, detail }) {
    const { ref, room } = message;
    message.transmitted = false;
    message.uncertain ||= code === "internal";
    if (!PASSING.has(code) || !this.#rooms.has(room)) return this.#fail(ref, detail, code);
    const again = () => this.#outbox.get(ref) === message && this.#transmit(message);
    setTimeout(again, pause(1 + message.attempt++, this.#random));
  }

  /**
   * Forgets a room, and gives up what waits to be said there. What has been transmitted is still answered.
   *
   * @param {string} room
   * @param {string} detail
   */
  #drop(room, detail) {
    this.#rooms.delete(room);
    for (const message of [...this.#outbox.values()]) {
      if (message.room === room && !message.transmitted) this.#fail(message.ref, detail);
    }
  }

  /**
   * @param {string} ref
   * @param {string} detail
   * @param {string | null} [code] of the server's `Error`
   */
  #fail(ref, detail, code = null) {
    const message = this.#outbox.get(ref);
    this.#outbox.delete(ref);
    if (!message) return;
    const { room, content, uncertain } = message;
    this.#emit("failed", { ref, room, content, detail, uncertain });
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
