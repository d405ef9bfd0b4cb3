/**
 * Typed messages on a connection that comes back: requests with their answers, events by type, and topics that go on
 * where they were left. `manage.py generateclient typescript` writes the class of each endpoint on top of it.
 */

import { Connection } from "./connection.js";
import { tokenTickets } from "./ticket.js";
import { Topics, emit, listen } from "./topics.js";

/** Milliseconds that an answer may take. */
const REQUEST_TIMEOUT = 10_000;

/**
 * @typedef {{type: string, ref?: string | null, [name: string]: any}} AnyMessage
 * @typedef {import("./connection.js").ConnectionOptions} ConnectionOptions
 * @typedef {import("./connection.js").State} State
 *
 * @typedef {object} Description what an endpoint's generated module says of it
 * @property {string[]} paths with parameters in braces
 * @property {string[]} protocols subprotocols to offer
 * @property {string | null} ping the text that asks a silent server for a sign of life
 * @property {Record<string, string[]>} replies types of the answers to a message, by its type
 * @property {string[]} unreferenced types of the answers that do not repeat the `ref`
 * @property {import("./topics.js").TopicFields | null} topics
 * @property {import("./connection.js").CloseCodes} closeCodes
 *
 * @typedef {object} OwnOptions
 * @property {string | URL} [base] address of the site; that of the page by default
 * @property {Record<string, string>} [params] parameters of the path
 * @property {Record<string, string | number | boolean>} [query] parameters of the query
 * @property {(renew: boolean) => string | Promise<string>} [token] gets an access token, for which the connection gets a
 *   ticket; `renew` when the last one is refused or has expired
 * @property {string} [ticketUrl] where a ticket is had
 * @property {number} [timeout] milliseconds that an answer may take
 *
 * @typedef {OwnOptions & Partial<ConnectionOptions>} TypedOptions
 *
 * @typedef {object} Request
 * @property {AnyMessage} message
 * @property {boolean} sent
 * @property {(answer: any) => void} resolve
 * @property {(error: Error) => void} reject
 */

/** The server has answered a message with an `Error`: it had no effect. */
export class RequestRefused extends Error {
  /** @param {{code: string, detail: string}} error */
  constructor({ code, detail }) {
    super(detail);
    this.name = "RequestRefused";
    this.code = code;
    this.detail = detail;
  }
}

/** No answer came in time. The message may have had an effect all the same. */
export class RequestTimeout extends Error {
  name = "RequestTimeout";
}

/** The connection ended before the answer came. The message may have had an effect all the same. */
export class ConnectionLost extends Error {
  name = "ConnectionLost";
}

/**
 * The connection to an endpoint whose messages have types. Events: `state` (its `detail` is a `State`), `open`.
 *
 * @template {{type: string}} Sent what a client sends
 * @template {{type: string}} Received what the server sends
 * @template Replies the answers to a message, by its type
 * @template [Joined=never] the answer that lets the client into a topic
 * @template [Item=never] the numbered messages of a topic
 */
export class TypedConnection extends EventTarget {
  #connection;
  #description;
  #timeout;
  /** @type {Map<string, Set<(message: any) => void>>} */ #listeners = new Map();
  /** @type {Map<string, Request>} */ #requests = new Map();
  /** @type {Topics<Joined, Item> | null} */ #topics = null;

  /**
   * @param {Description} description
   * @param {TypedOptions} options
   */
  constructor(description, options) {
    super();
    const { base, params = {}, query = {}, token, ticketUrl = "/api/ws-ticket/", timeout = REQUEST_TIMEOUT, ...rest } = options;
    const site = base ?? globalThis.document?.baseURI;
    this.#description = description;
    this.#timeout = timeout;
    const tickets = token && tokenTickets(new URL(ticketUrl, site), token);
    const { protocols, ping, closeCodes } = description;
    const url = rest.url ?? address(description.paths, site, params, query);
    this.#connection = new Connection({ protocols, ping, closeCodes, ticket: tickets ?? null, ...rest, url });
    const send = (/** @type {AnyMessage} */ message) => this.#connection.send(JSON.stringify(message));
    if (description.topics) this.#topics = new Topics(description.topics, send, rest.random ?? Math.random);
    this.#connection.addEventListener("state", (event) => this.#stateChanged(/** @type {CustomEvent} */ (event).detail));
    this.#connection.addEventListener("open", () => this.#opened());
    this.#connection.addEventListener("message", (event) => this.#received(/** @type {CustomEvent} */ (event).detail));
  }

  /** The state of the connection. */
  get state() {
    return this.#connection.state;
  }

  /** Connects, and stays connected until `stop()` or until the server says that coming back is of no use. */
  start() {
    this.#connection.start();
  }

  stop() {
    this.#connection.stop();
  }

  /**
   * Sends a message if the connection is open.
   *
   * @param {Sent} message
   * @returns {boolean} whether it was handed to the connection; that it arrives, only an answer can say
   */
  send(message) {
    return this.#connection.send(JSON.stringify(message));
  }

  /**
   * Sends a message with a `ref`, as soon as there is a connection, and waits for its answer.
   *
   * @template {Extract<Sent, {type: keyof Replies}>} Message
   * @param {Message} message
   * @param {{timeout?: number}} [options] milliseconds, including those until there is a connection
   * @returns {Promise<Replies[Message["type"] & keyof Replies]>}
   * @throws {RequestRefused} when the server answers with an `Error`
   * @throws {RequestTimeout}
   * @throws {ConnectionLost}
   */
  request(message, { timeout = this.#timeout } = {}) {
    const ref = /** @type {AnyMessage} */ (message).ref ?? crypto.randomUUID();
    return new Promise((resolve, reject) => {
      const settled = () => {
        clearTimeout(timer);
        this.#requests.delete(ref);
      };
      const request = {
        message: { ...message, ref },
        sent: false,
        /** @param {any} answer */
        resolve: (answer) => (settled(), resolve(answer)),
        /** @param {Error} error */
        reject: (error) => (settled(), reject(error)),
      };
      const timer = setTimeout(() => request.reject(new RequestTimeout("No answer came in time.")), timeout);
      if (this.state.phase === "stopped") return request.reject(new ConnectionLost("There is no connection."));
      this.#requests.set(ref, request);
      this.#transmit(request);
    });
  }

  /**
   * Calls a listener for each message of a type that answers no request, until the function that it returns is called.
   *
   * @template {Received["type"]} Type
   * @param {Type} type
   * @param {(message: Extract<Received, {type: Type}>) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    return listen(this.#listeners, type, listener);
  }

  /**
   * Enters a topic, and enters it again after each break with the position that was reached.
   *
   * @param {string} name
   * @returns {import("./topics.js").Subscription<Joined, Item>}
   */
  subscribe(name) {
    if (!this.#topics) throw new TypeError("This endpoint has no topics.");
    return this.#topics.subscribe(name);
  }

  /** @param {Request} request */
  #transmit(request) {
    request.sent ||= this.#connection.send(JSON.stringify(request.message));
  }

  /** @param {State} state */
  #stateChanged(state) {
    if (state.phase === "waiting" || state.phase === "stopped") this.#interrupted(state.phase === "stopped");
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  /** @param {boolean} forGood */
  #interrupted(forGood) {
    for (const request of [...this.#requests.values()]) {
      if (request.sent || forGood) request.reject(new ConnectionLost("The connection was interrupted."));
    }
    this.#topics?.interrupted();
  }

  #opened() {
    this.#topics?.opened();
    for (const request of this.#requests.values()) this.#transmit(request);
    this.dispatchEvent(new Event("open"));
  }

  /** @param {unknown} data */
  #received(data) {
    if (typeof data !== "string") return;
    /** @type {AnyMessage} */
    const message = JSON.parse(data);
    const isForTopic = this.#topics?.received(message) ?? false;
    const request = this.#requestOf(message);
    if (request && message.type === "Error") request.reject(new RequestRefused(/** @type {any} */ (message)));
    else if (request) request.resolve(message);
    else if (!isForTopic) emit(this.#listeners, message.type, message);
  }

  /**
   * @param {AnyMessage} message
   * @returns {Request | undefined} the request that it answers
   */
  #requestOf(message) {
    const { replies, unreferenced } = this.#description;
    if (typeof message.ref === "string") return this.#requests.get(message.ref);
    if (!unreferenced.includes(message.type)) return undefined;
    // Without a ref it answers the oldest request for it that speaks of the same.
    const fits = (/** @type {AnyMessage} */ asked) =>
      replies[asked.type]?.includes(message.type) &&
      Object.keys(asked).every((name) => name === "type" || !(name in message) || (asked[name] ?? message[name]) === message[name]);
    return [...this.#requests.values()].find((request) => request.sent && fits(request.message));
  }
}

/**
 * @param {string[]} paths
 * @param {string | URL | undefined} site
 * @param {Record<string, string>} params
 * @param {Record<string, string | number | boolean>} query
 * @returns {URL} of the path that has exactly these parameters
 */
function address(paths, site, params, query) {
  const names = (/** @type {string} */ path) => [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const fits = (/** @type {string[]} */ needed) =>
    needed.length === Object.keys(params).length && needed.every((name) => name in params);
  const path = paths.find((each) => fits(names(each)));
  if (path === undefined) throw new TypeError(`No address has the parameters [${Object.keys(params)}]: ${paths.join(", ")}`);
  const url = new URL(path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name])), site);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return url;
}
