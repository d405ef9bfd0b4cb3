/** Topics: what a client has entered on one connection, and goes on with after a break where it was. */

import { pause } from "./connection.js";

/** Attempt number of the pause before a topic is asked for, or left, again: up to 4 s. */
const COMMAND_ATTEMPT = 3;
/** Errors of the server that pass; what was refused for another reason is not sent again. */
export const PASSING = new Set(["rate_limited", "internal"]);

/**
 * @typedef {{type: string, ref?: string | null, [name: string]: any}} AnyMessage
 * @typedef {Map<string, Set<(detail: any) => void>>} Listeners
 *
 * @typedef {object} TopicFields
 * @property {string} key the field that names a topic
 * @property {string} item the type of its numbered messages
 * @property {string[]} seen types of the answers that carry such a number
 */

/** How far a topic has been read. */
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
 * A topic that a client is in, or wants to be in. `subscribe()` makes it.
 *
 * @template Joined
 * @template Item
 */
export class Subscription {
  /** Whether the server has let this connection in. */
  entered = false;
  /** @type {Position | null} */ position = null;
  /** @type {Listeners} */ #listeners = new Map();

  /**
   * @param {string} name
   * @param {() => void} leave
   */
  constructor(name, leave) {
    this.name = name;
    /** Leaves the topic. */
    this.leave = leave;
  }

  /**
   * Calls a listener, until the function that it returns is called.
   *
   * - `joined`: the server's `Joined`. Its `messages` are what was missed if `recovered`, else they replace what is shown.
   * - `message`: a message of the topic, once for each and in the order of `seq`
   * - `left`: the topic is over for this client; the detail is the server's `Error`, or null
   *
   * @template {"joined" | "message" | "left"} Event
   * @param {Event} event
   * @param {(detail: {joined: Joined, message: Item, left: {code: string, detail: string} | null}[Event]) => void} listener
   * @returns {() => void}
   */
  on(event, listener) {
    return listen(this.#listeners, event, listener);
  }

  /**
   * @param {"joined" | "message" | "left"} event
   * @param {any} detail
   */
  emit(event, detail) {
    emit(this.#listeners, event, detail);
  }
}

/**
 * @template Joined
 * @template Item
 */
export class Topics {
  #fields;
  #send;
  #random;
  /** @type {Map<string, Subscription<Joined, Item>>} */ #known = new Map();
  /** Topics whose `Leave` is not answered yet. @type {Set<string>} */ #leaving = new Set();

  /**
   * @param {TopicFields} fields
   * @param {(message: AnyMessage) => boolean} send returns whether there is a connection
   * @param {() => number} random from 0 to 1
   */
  constructor(fields, send, random) {
    this.#fields = fields;
    this.#send = send;
    this.#random = random;
  }

  /**
   * @param {string} name
   * @returns {Subscription<Joined, Item>}
   */
  subscribe(name) {
    const known = this.#known.get(name);
    if (known) return known;
    /** @type {Subscription<Joined, Item>} */
    const subscription = new Subscription(name, () => this.#unsubscribe(subscription));
    this.#known.set(name, subscription);
    if (!this.#leaving.has(name)) this.#join(subscription);
    return subscription;
  }

  /** There is a connection, which is in no topic yet. */
  opened() {
    for (const subscription of this.#known.values()) this.#join(subscription);
  }

  /** The connection has ended. */
  interrupted() {
    this.#leaving.clear();
    for (const subscription of this.#known.values()) subscription.entered = false;
  }

  /**
   * @param {AnyMessage} message
   * @returns {boolean} whether it is for a topic alone
   */
  received(message) {
    const { key, item, seen } = this.#fields;
    if (message.type === "Error") return this.#refused(message);
    if (message.type === "Left") return this.#left(message[key]);
    const subscription = this.#known.get(message[key]);
    if (message.type === "Joined") this.#joined(subscription, message);
    else if (seen.includes(message.type)) subscription?.position?.see(message.seq);
    else if (message.type === item && subscription?.position?.see(message.seq)) subscription.emit("message", message);
    return subscription !== undefined && (message.type === "Joined" || message.type === item);
  }

  /** @param {Subscription<Joined, Item>} subscription */
  #join({ name, position }) {
    const since = position && { epoch: position.epoch, seq: position.seq };
    this.#command("Join", name, since && { since });
  }

  /**
   * @param {"Join" | "Leave"} type
   * @param {string} name
   * @param {object | null} [rest]
   * @returns {boolean} whether there was a connection
   */
  #command(type, name, rest) {
    return this.#send({ type, [this.#fields.key]: name, ref: `${type.toLowerCase()}:${name}`, ...rest });
  }

  /**
   * @param {Subscription<Joined, Item> | undefined} subscription
   * @param {AnyMessage} message
   */
  #joined(subscription, message) {
    if (!subscription) return;
    const before = subscription.position;
    subscription.position = new Position(message.epoch, message.seq);
    subscription.entered = true;
    const isNew = (/** @type {{seq: number}} */ { seq }) => before?.see(seq);
    const messages = before && message.recovered ? message.messages.filter(isNew) : message.messages;
    subscription.emit("joined", { ...message, messages });
  }

  /** @param {Subscription<Joined, Item>} subscription */
  #unsubscribe(subscription) {
    const { name } = subscription;
    if (this.#known.get(name) !== subscription) return;
    this.#end(name, null);
    if (!this.#leaving.has(name) && this.#command("Leave", name)) this.#leaving.add(name);
  }

  /**
   * @param {string} name
   * @param {AnyMessage | null} error
   */
  #end(name, error) {
    const subscription = this.#known.get(name);
    this.#known.delete(name);
    if (!subscription) return;
    subscription.entered = false;
    subscription.emit("left", error);
  }

  /**
   * Notes that the server has left a topic for this client, as it was asked to or by itself.
   *
   * @param {string} name
   */
  #left(name) {
    if (!this.#hasLeft(name)) this.#end(name, null);
    return false;
  }

  /**
   * Notes the answer to a `Leave`, and asks for the topic again if it was subscribed to meanwhile.
   *
   * @param {string} name
   * @returns {boolean} whether there was a `Leave` to answer
   */
  #hasLeft(name) {
    const expected = this.#leaving.delete(name);
    const again = this.#known.get(name);
    if (expected && again) this.#join(again);
    return expected;
  }

  /**
   * @param {AnyMessage} error
   * @returns {boolean} whether it is for a topic alone
   */
  #refused(error) {
    const [, command, name] = /^(join|leave):(.*)$/s.exec(error.ref ?? "") ?? [];
    if (!command) return false;
    // Of new topics: it lasts up to an hour, for which nobody is left to wait.
    const isQuota = command === "join" && error.code === "rate_limited" && this.#known.get(name)?.position === null;
    if (PASSING.has(error.code) && !isQuota) {
      setTimeout(() => this.#askAgain(command, name), pause(COMMAND_ATTEMPT, this.#random));
      return true;
    }
    if (command === "leave") this.#hasLeft(name);
    else this.#end(name, error);
    return command === "leave";
  }

  /**
   * @param {string} command
   * @param {string} name
   */
  #askAgain(command, name) {
    const subscription = this.#known.get(name);
    if (command === "leave" && this.#leaving.has(name)) this.#command("Leave", name);
    if (command === "join" && subscription) this.#join(subscription);
  }
}

/**
 * @param {Listeners} listeners
 * @param {string} event
 * @param {(detail: any) => void} listener
 */
export function listen(listeners, event, listener) {
  const own = listeners.get(event) ?? new Set();
  listeners.set(event, own.add(listener));
  return () => void own.delete(listener);
}

/**
 * @param {Listeners} listeners
 * @param {string} event
 * @param {any} detail
 */
export const emit = (listeners, event, detail) => [...(listeners.get(event) ?? [])].forEach((listener) => listener(detail));
