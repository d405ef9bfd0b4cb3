/**
 * One WebSocket that comes back: after a break it waits for a random time that grows, does at once what the close
 * code advises, and notices a connection that is dead without having been closed.
 */

/** Milliseconds: the first and the largest bound of the random pause before another attempt. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** Milliseconds after which an open connection counts as stable, and the pause starts again from the first bound. */
const STABLE_AFTER = 5_000;
/** Milliseconds without a message after which a ping is sent, and how long its answer may take. */
const PING_AFTER = 20_000;
const PING_TIMEOUT = 10_000;
/** Milliseconds that a handshake may take. */
const CONNECT_TIMEOUT = 15_000;

/** Absent outside of a page: in Node, in a worker. */
const page = /** @type {Document | undefined} */ (globalThis.document);

/** What a browser reports for a connection that ended without a close frame (RFC 6455, 7.1.5). */
const ABNORMAL = 1006;

/**
 * @typedef {"stop" | "reconnect" | "renew"} Advice
 * @typedef {Record<string, {name?: string, meaning?: string, advice: Advice}>} CloseCodes
 * @typedef {"idle" | "connecting" | "open" | "waiting" | "stopped"} Phase
 *
 * @typedef {object} State
 * @property {Phase} phase `waiting` for the next attempt, `stopped` for good
 * @property {number | null} code close code of the last connection
 * @property {string} reason its close reason, or why there is no connection
 * @property {number | null} delay milliseconds until the next attempt
 *
 * @typedef {object} ConnectionOptions
 * @property {string | URL} url address of the endpoint; `http:` becomes `ws:`. Outside of a page it is a whole one.
 * @property {CloseCodes} closeCodes the server's catalogue (realtime/engine/protocol/close.py), as the page carries it
 * @property {string[]} [protocols] subprotocols to offer
 * @property {((renew: boolean) => Promise<string | null>) | null} [ticket] gets a one-time ticket for each attempt, null to
 *   go without; `renew` after the token has expired. A `SignedOut` that it throws ends the attempts.
 * @property {string | null} [ping] the text that asks a silent server for a sign of life; null for none
 * @property {number} [pingAfter] milliseconds
 * @property {number} [pingTimeout] milliseconds
 * @property {() => number} [random] from 0 to 1, for tests
 * @property {typeof globalThis.WebSocket} [WebSocket] the class to connect with, where there is no global one: that of the
 *   package `ws` in Node before 22
 */

/** Thrown by `ticket()` where trying again would not help: the person has to sign in. */
export class SignedOut extends Error {}

/**
 * Returns a pause with full jitter, so that the clients of a restarted server do not all come at once.
 *
 * @param {number} attempt 0 for the first attempt after a break
 * @param {() => number} random
 * @returns {number} milliseconds
 */
export const pause = (attempt, random) => random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** attempt);

/**
 * A WebSocket that comes back. Events: `state` (its `detail` is a `State`), `message` (its `detail` is the text or
 * `ArrayBuffer`), `open`.
 */
export class Connection extends EventTarget {
  #options;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {State} */ #state = { phase: "idle", code: null, reason: "", delay: null };
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #stable;
  #attempt = 0;
  #renew = false;
  /** Number of the attempt: an older one was overtaken while it waited for its ticket. */
  #generation = 0;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    super();
    this.#options = { protocols: [], ticket: null, ping: null, pingAfter: PING_AFTER, pingTimeout: PING_TIMEOUT, random: Math.random, WebSocket: globalThis.WebSocket, ...options };
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /**
   * Connects, and stays connected until `stop()` or until the server says that coming back is of no use. Ends a pause
   * between two attempts.
   */
  start() {
    if (this.#state.phase === "connecting" || this.#state.phase === "open") return;
    if (page) {
      addEventListener("online", this.#wake);
      addEventListener("offline", this.#wake);
      page.addEventListener("visibilitychange", this.#wake);
    }
    this.#attempt = 0;
    this.#connect();
  }

  /**
   * Ends the connection for good.
   *
   * @param {number} [code]
   * @param {string} [reason]
   */
  stop(code = 1000, reason = "") {
    this.#forget()?.close(code, reason);
    this.#stopped(code, reason);
  }

  /**
   * Sends a message if the connection is open.
   *
   * @param {string | ArrayBuffer} data
   * @returns {boolean} whether it was handed to the connection; that it arrives, only an answer can say
   */
  send(data) {
    if (this.#state.phase !== "open") return false;
    this.#socket?.send(data);
    return true;
  }

  async #connect() {
    clearTimeout(this.#timer);
    const generation = ++this.#generation;
    this.#become({ phase: "connecting", delay: null });
    let url;
    try {
      url = await this.#url();
    } catch (error) {
      if (generation !== this.#generation) return;
      const { message } = /** @type {Error} */ (error);
      if (error instanceof SignedOut) this.#stopped(this.#state.code, message);
      else this.#wait(this.#state.code, message);
      return;
    }
    if (generation === this.#generation) this.#open(url);
  }

  async #url() {
    const { url: address, ticket: getTicket } = this.#options;
    const url = new URL(address, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    const ticket = getTicket && (await getTicket(this.#renew));
    if (ticket) url.searchParams.set("ticket", ticket);
    return url;
  }

  /** @param {URL} url */
  #open(url) {
    const socket = new this.#options.WebSocket(url, this.#options.protocols);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    this.#timer = setTimeout(() => this.#lost("The server did not answer."), CONNECT_TIMEOUT);
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => {
      this.#watch();
      this.dispatchEvent(new CustomEvent("message", { detail: data }));
    };
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
  }

  #opened() {
    this.#renew = false;
    this.#stable = setTimeout(() => (this.#attempt = 0), STABLE_AFTER);
    this.#watch();
    this.#become({ phase: "open", code: null, reason: "", delay: null });
    this.dispatchEvent(new Event("open"));
  }

  /** Starts the time within which something has to arrive, anew. */
  #watch() {
    clearTimeout(this.#timer);
    if (this.#options.ping !== null) this.#timer = setTimeout(() => this.#probe(), this.#options.pingAfter);
  }

  #probe() {
    if (this.#options.ping === null) return;
    this.send(this.#options.ping);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost("The server has gone silent."), this.#options.pingTimeout);
  }

  /**
   * Gives a connection up without waiting for an answer to its close frame, which a dead one would never give.
   *
   * @param {string} reason
   */
  #lost(reason) {
    this.#forget()?.close();
    this.#ended(ABNORMAL, reason);
  }

  /** @returns {WebSocket | null} the socket, from which nothing is heard any more */
  #forget() {
    const socket = this.#socket;
    this.#generation += 1;
    this.#socket = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#stable);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #ended(code, reason) {
    this.#forget();
    const advice = this.#options.closeCodes[code]?.advice ?? "reconnect";
    this.#renew ||= advice === "renew";
    if (advice === "stop") this.#stopped(code, reason);
    else this.#wait(code, reason);
  }

  /**
   * @param {number | null} code
   * @param {string} reason
   */
  #wait(code, reason) {
    const delay = pause(this.#attempt, this.#options.random);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#become({ phase: "waiting", code, reason, delay });
  }

  /**
   * @param {number | null} code
   * @param {string} reason
   */
  #stopped(code, reason) {
    if (page) {
      removeEventListener("online", this.#wake);
      removeEventListener("offline", this.#wake);
      page.removeEventListener("visibilitychange", this.#wake);
    }
    clearTimeout(this.#timer);
    this.#become({ phase: "stopped", code, reason, delay: null });
  }

  /** The network or the page has come back, or the network has gone: look now, not when the timer says so. */
  #wake = () => {
    if (page?.visibilityState === "hidden") return;
    if (this.#state.phase === "open") this.#probe();
    else if (this.#state.phase === "waiting" && navigator.onLine) this.#connect();
  };

  /** @param {Partial<State>} change */
  #become(change) {
    this.#state = { ...this.#state, ...change };
    this.dispatchEvent(new CustomEvent("state", { detail: this.#state }));
  }
}
