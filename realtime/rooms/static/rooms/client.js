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

import { Connection, SignedOut, pause } from "../realtime/connection.js";

export { SignedOut };

/** Messages that may wait for their acknowledgement. */
const OUTBOX_LIMIT = 200;
/** Milliseconds before the end of a token's life at which a new one is sent. */
const RENEW_BEFORE = 30_000;
/** A longer timer fires at once (HTML, 8.7: a signed 32-bit number of milliseconds). */
const LONGEST_TIMER = 2 ** 31 - 1;
/** Attempt number of the pause before a room is asked for, or left, again: up to 4 s. */
const COMMAND_ATTEMPT = 3;
/** Errors of the server that pass; what was refused for another reason is not sent again. */
const PASSING = new Set(["rate_limited", "internal"]);

/**
 * @typedef {import("./messages.d.ts").ClientMessage} ClientMessage
 * @typedef {import("./messages.d.ts").ServerMessage} ServerMessage
 * @typedef {import("./messages.d.ts").Chat} Chat
 * @typedef {import("./messages.d.ts").Joined} Joined
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

/** How far a room has been read. */
export class Position {
  /** @type {Set<number>} */ #ahead = new Set();

  /**
   * @param {string} epoch
   * @param {number} seq
   */
  constructor(epoch, seq) {
    this.epoch = epoch;
    this.seq = seq;
  }

  /**
   * Notes a message. An acknowledgement may overtake a message of somebody else, so that only an unbroken
   * row moves the position on.
   *
   * @param {number} seq
   * @returns {boolean} whether it is new
   */
  see(seq) {
    if (seq <= this.seq || this.#ahead.has(seq)) return false;
    this.#ahead.add(seq);
    while (this.#ahead.delete(this.seq + 1)) this.seq += 1;
    return true;
  }
}

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
  #connection;
  #retry;
  #token;
  #renewBefore;
  #random;
  /** @type {Map<string, Position | null>} */ #rooms = new Map();
  /** Rooms that the server has let this connection into. @type {Set<string>} */ #entered = new Set();
  /** Rooms whose `Leave` is not answered yet. @type {Set<string>} */ #leaving = new Set();
  /** @type {Map<string, Outgoing>} */ #outbox = new Map();
  /** @type {Map<string, {resolve: (messages: Chat[]) => void, reject: (error: Error) => void}>} */ #requests = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #renewal;

  /** @param {ConnectionOptions & RoomsOptions} options */
  constructor({ retry = true, token = null, renewBefore = RENEW_BEFORE, ...options }) {
    super();
    this.#renewBefore = renewBefore;
    this.#retry = retry;
    this.#token = token;
    this.#random = options.random ?? Math.random;
    this.#connection = new Connection({ ping: JSON.stringify({ type: "Ping" }), ...options });
    this.#connection.addEventListener("state", (event) => this.#stateChanged(/** @type {CustomEvent} */ (event).detail));
    this.#connection.addEventListener("open", () => this.#opened());
    this.#connection.addEventListener("message", (event) => this.#received(/** @type {CustomEvent} */ (event).detail));
  }

  /** The state of the connection. */
  get state() {
    return this.#connection.state;
  }

  /** Messages that wait for their acknowledgement. */
  get pending() {
    return this.#outbox.size;
  }

  start() {
    this.#connection.start();
  }

  stop() {
    clearTimeout(this.#renewal);
    this.#connection.stop();
  }

  /** @param {string} room */
  join(room) {
    if (this.#rooms.has(room)) return;
    this.#rooms.set(room, null);
    if (!this.#leaving.has(room)) this.#join(room);
  }

  /**
   * Leaves a room. What did not go out yet fails; what did is still acknowledged.
   *
   * @param {string} room
   */
  leave(room) {
    if (!this.#rooms.has(room)) return;
    this.#drop(room, "You left the room.");
    if (!this.#leaving.has(room) && this.#leave(room)) this.#leaving.add(room);
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
  history(room, before, limit = 50) {
    const ref = `history:${room}`;
    return new Promise((resolve, reject) => {
      if (this.#requests.has(ref)) return reject(new Error("Older messages are on their way already."));
      if (!this.#send({ type: "History", room, before, limit, ref })) return reject(new Error("There is no connection."));
      this.#requests.set(ref, { resolve, reject });
    });
  }

  /** @param {import("../realtime/connection.js").State} state */
  #stateChanged(state) {
    if (state.phase === "waiting" || state.phase === "stopped") this.#interrupted(state);
    this.#emit("state", state);
  }

  /** @param {import("../realtime/connection.js").State} state */
  #interrupted({ phase, reason }) {
    clearTimeout(this.#renewal);
    for (const { reject } of this.#requests.values()) reject(new Error("The connection was interrupted."));
    this.#requests.clear();
    this.#entered.clear();
    this.#leaving.clear();
    const detail = reason || "The connection ended before the message was acknowledged.";
    for (const message of [...this.#outbox.values()]) {
      message.uncertain ||= message.transmitted;
      message.transmitted = false;
      const isSentLater = this.#rooms.has(message.room) && (this.#retry || !message.uncertain);
      if (phase === "stopped" || !isSentLater) this.#fail(message.ref, detail);
    }
  }

  async #opened() {
    for (const room of this.#rooms.keys()) this.#join(room);
    await this.#authenticate(false);
  }

  /** @param {string} room */
  #join(room) {
    const position = this.#rooms.get(room);
    const since = position && { epoch: position.epoch, seq: position.seq };
    this.#send({ type: "Join", room, ref: `join:${room}`, ...(since && { since }) });
  }

  /**
   * @param {string} room
   * @returns {boolean} whether there was a connection
   */
  #leave(room) {
    return this.#send({ type: "Leave", room, ref: `leave:${room}` });
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
    if (send) this.#send({ type: "Authenticate", token: access.token, ref: "authenticate" });
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
    if (!this.#entered.has(room)) return;
    message.transmitted = true;
    this.#send({ type: "Chat", ref, room, content });
  }

  /**
   * @param {ClientMessage} message
   * @returns {boolean} whether there was a connection
   */
  #send(message) {
    return this.#connection.send(JSON.stringify(message));
  }

  /** @param {string} text */
  #received(text) {
    /** @type {ServerMessage} */
    const message = JSON.parse(text);
    switch (message.type) {
      case "Joined":
        return this.#joined(message);
      case "Chat":
        if (this.#rooms.get(message.room)?.see(message.seq)) this.#emit("message", message);
        return;
      case "Ack":
        return this.#acknowledged(message);
      case "History":
        this.#requests.get(`history:${message.room}`)?.resolve(message.messages);
        this.#requests.delete(`history:${message.room}`);
        return;
      case "Left":
        if (!this.#hasLeft(message.room)) this.#drop(message.room, "You are no longer in this room.");
        return this.#emit("left", message);
      case "Access":
      case "Presence":
      case "Hidden":
      case "Authenticated":
        return this.#emit(message.type.toLowerCase(), message);
      case "Error":
        return this.#refused(message);
    }
  }

  /** @param {Joined} message */
  #joined(message) {
    const before = this.#rooms.get(message.room);
    if (before === undefined) return;
    this.#rooms.set(message.room, new Position(message.epoch, message.seq));
    this.#entered.add(message.room);
    const messages = before && message.recovered ? message.messages.filter(({ seq }) => before.see(seq)) : message.messages;
    this.#emit("joined", { ...message, messages });
    for (const waiting of this.#outbox.values()) {
      if (waiting.room === message.room && !waiting.transmitted) this.#transmit(waiting);
    }
  }

  /** @param {import("./messages.d.ts").Ack} message */
  #acknowledged(message) {
    this.#rooms.get(message.room)?.see(message.seq);
    if (message.ref !== null && this.#outbox.delete(message.ref)) this.#emit("sent", message);
  }

  /** @param {import("./messages.d.ts").Error} error */
  #refused(error) {
    const ref = error.ref ?? "";
    const message = this.#outbox.get(ref);
    const request = this.#requests.get(ref);
    const [, command, room] = /^(join|leave):(.*)$/s.exec(ref) ?? [];
    // Of new rooms: it lasts up to an hour, for which nobody is left to wait.
    const isQuota = command === "join" && error.code === "rate_limited" && this.#rooms.get(room) === null;
    if (message) {
      this.#messageRefused(message, error);
    } else if (request) {
      this.#requests.delete(ref);
      request.reject(new Error(error.detail));
    } else if (command && PASSING.has(error.code) && !isQuota) {
      setTimeout(() => this.#askAgain(command, room), pause(COMMAND_ATTEMPT, this.#random));
    } else if (command === "leave") {
      this.#hasLeft(room);
    } else {
      if (command === "join") this.#drop(room, error.detail);
      this.#emit("refused", error);
    }
  }

  /**
   * @param {Outgoing} message
   * @param {import("./messages.d.ts").Error} error
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
   * @param {string} command
   * @param {string} room
   */
  #askAgain(command, room) {
    if (command === "leave" && this.#leaving.has(room)) this.#leave(room);
    if (command === "join" && this.#rooms.has(room)) this.#join(room);
  }

  /**
   * Notes the answer to a `Leave`, and asks for the room again if it was joined meanwhile.
   *
   * @param {string} room
   * @returns {boolean} whether there was a `Leave` to answer
   */
  #hasLeft(room) {
    const expected = this.#leaving.delete(room);
    if (expected && this.#rooms.has(room)) this.#join(room);
    return expected;
  }

  /**
   * Forgets a room, and gives up what waits to be said there. What has been transmitted is still answered.
   *
   * @param {string} room
   * @param {string} detail
   */
  #drop(room, detail) {
    this.#rooms.delete(room);
    this.#entered.delete(room);
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
