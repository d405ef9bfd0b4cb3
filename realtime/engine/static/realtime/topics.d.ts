/**
 * @param {Listeners} listeners
 * @param {string} event
 * @param {(detail: any) => void} listener
 */
export function listen(listeners: Listeners, event: string, listener: (detail: any) => void): () => undefined;
/** Errors of the server that pass; what was refused for another reason is not sent again. */
export const PASSING: Set<string>;
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
    /**
     * @param {string} epoch
     * @param {number} seq
     */
    constructor(epoch: string, seq: number);
    epoch: string;
    seq: number;
    /**
     * Notes a message. An acknowledgement may overtake a message of somebody else, so that only an unbroken
     * row moves the position on.
     *
     * @param {number} seq
     * @returns {boolean} whether it is new
     */
    see(seq: number): boolean;
    #private;
}
/**
 * A topic that a client is in, or wants to be in. `subscribe()` makes it.
 *
 * @template Joined
 * @template Item
 */
export class Subscription<Joined, Item> {
    /**
     * @param {string} name
     * @param {() => void} leave
     */
    constructor(name: string, leave: () => void);
    /** Whether the server has let this connection in. */
    entered: boolean;
    /** @type {Position | null} */ position: Position | null;
    name: string;
    /** Leaves the topic. */
    leave: () => void;
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
    on<Event extends "joined" | "message" | "left">(event: Event, listener: (detail: {
        joined: Joined;
        message: Item;
        left: {
            code: string;
            detail: string;
        } | null;
    }[Event]) => void): () => void;
    /**
     * @param {"joined" | "message" | "left"} event
     * @param {any} detail
     */
    emit(event: "joined" | "message" | "left", detail: any): void;
    #private;
}
/**
 * @template Joined
 * @template Item
 */
export class Topics<Joined, Item> {
    /**
     * @param {TopicFields} fields
     * @param {(message: AnyMessage) => boolean} send returns whether there is a connection
     * @param {() => number} random from 0 to 1
     */
    constructor(fields: TopicFields, send: (message: AnyMessage) => boolean, random: () => number);
    /**
     * @param {string} name
     * @returns {Subscription<Joined, Item>}
     */
    subscribe(name: string): Subscription<Joined, Item>;
    /** There is a connection, which is in no topic yet. */
    opened(): void;
    /** The connection has ended. */
    interrupted(): void;
    /**
     * @param {AnyMessage} message
     * @returns {boolean} whether it is for a topic alone
     */
    received(message: AnyMessage): boolean;
    #private;
}
export function emit(listeners: Listeners, event: string, detail: any): void;
export type AnyMessage = {
    type: string;
    ref?: string | null;
    [name: string]: any;
};
export type Listeners = Map<string, Set<(detail: any) => void>>;
export type TopicFields = {
    /**
     * the field that names a topic
     */
    key: string;
    /**
     * the type of its numbered messages
     */
    item: string;
    /**
     * types of the answers that carry such a number
     */
    seen: string[];
};
