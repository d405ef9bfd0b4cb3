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
export class SignedOut extends Error {
}
export function pause(attempt: number, random: () => number): number;
/**
 * A WebSocket that comes back. Events: `state` (its `detail` is a `State`), `message` (its `detail` is the text or
 * `ArrayBuffer`), `open`.
 */
export class Connection extends EventTarget {
    /** @param {ConnectionOptions} options */
    constructor(options: ConnectionOptions);
    /** @returns {State} */
    get state(): State;
    /**
     * Connects, and stays connected until `stop()` or until the server says that coming back is of no use. Ends a pause
     * between two attempts.
     */
    start(): void;
    /**
     * Ends the connection for good.
     *
     * @param {number} [code]
     * @param {string} [reason]
     */
    stop(code?: number, reason?: string): void;
    /**
     * Sends a message if the connection is open.
     *
     * @param {string | ArrayBuffer} data
     * @returns {boolean} whether it was handed to the connection; that it arrives, only an answer can say
     */
    send(data: string | ArrayBuffer): boolean;
    #private;
}
export type Advice = "stop" | "reconnect" | "renew";
export type CloseCodes = Record<string, {
    name?: string;
    meaning?: string;
    advice: Advice;
}>;
export type Phase = "idle" | "connecting" | "open" | "waiting" | "stopped";
export type State = {
    /**
     * `waiting` for the next attempt, `stopped` for good
     */
    phase: Phase;
    /**
     * close code of the last connection
     */
    code: number | null;
    /**
     * its close reason, or why there is no connection
     */
    reason: string;
    /**
     * milliseconds until the next attempt
     */
    delay: number | null;
};
export type ConnectionOptions = {
    /**
     * address of the endpoint; `http:` becomes `ws:`. Outside of a page it is a whole one.
     */
    url: string | URL;
    /**
     * the server's catalogue (realtime/engine/protocol/close.py), as the page carries it
     */
    closeCodes: CloseCodes;
    /**
     * subprotocols to offer
     */
    protocols?: string[] | undefined;
    /**
     * gets a one-time ticket for each attempt, null to
     * go without; `renew` after the token has expired. A `SignedOut` that it throws ends the attempts.
     */
    ticket?: ((renew: boolean) => Promise<string | null>) | null | undefined;
    /**
     * the text that asks a silent server for a sign of life; null for none
     */
    ping?: string | null | undefined;
    /**
     * milliseconds
     */
    pingAfter?: number | undefined;
    /**
     * milliseconds
     */
    pingTimeout?: number | undefined;
    /**
     * from 0 to 1, for tests
     */
    random?: (() => number) | undefined;
    /**
     * the class to connect with, where there is no global one: that of the
     * package `ws` in Node before 22
     */
    WebSocket?: {
        new (url: string | URL, protocols?: string | string[]): WebSocket;
        prototype: WebSocket;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSING: 2;
        readonly CLOSED: 3;
    } | undefined;
};
