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
    constructor({ code, detail }: {
        code: string;
        detail: string;
    });
    code: string;
    detail: string;
}
/** No answer came in time. The message may have had an effect all the same. */
export class RequestTimeout extends Error {
}
/** The connection ended before the answer came. The message may have had an effect all the same. */
export class ConnectionLost extends Error {
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
export class TypedConnection<Sent extends {
    type: string;
}, Received extends {
    type: string;
}, Replies, Joined = never, Item = never> extends EventTarget {
    /**
     * @param {Description} description
     * @param {TypedOptions} options
     */
    constructor(description: Description, options: TypedOptions);
    /** The state of the connection. */
    get state(): import("./connection.js").State;
    /** Connects, and stays connected until `stop()` or until the server says that coming back is of no use. */
    start(): void;
    stop(): void;
    /**
     * Sends a message if the connection is open.
     *
     * @param {Sent} message
     * @returns {boolean} whether it was handed to the connection; that it arrives, only an answer can say
     */
    send(message: Sent): boolean;
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
    request<Message extends Extract<Sent, {
        type: keyof Replies;
    }>>(message: Message, { timeout }?: {
        timeout?: number;
    }): Promise<Replies[Message["type"] & keyof Replies]>;
    /**
     * Calls a listener for each message of a type that answers no request, until the function that it returns is called.
     *
     * @template {Received["type"]} Type
     * @param {Type} type
     * @param {(message: Extract<Received, {type: Type}>) => void} listener
     * @returns {() => void}
     */
    on<Type extends Received["type"]>(type: Type, listener: (message: Extract<Received, {
        type: Type;
    }>) => void): () => void;
    /**
     * Enters a topic, and enters it again after each break with the position that was reached.
     *
     * @param {string} name
     * @returns {import("./topics.js").Subscription<Joined, Item>}
     */
    subscribe(name: string): import("./topics.js").Subscription<Joined, Item>;
    #private;
}
export type AnyMessage = {
    type: string;
    ref?: string | null;
    [name: string]: any;
};
export type ConnectionOptions = import("./connection.js").ConnectionOptions;
export type State = import("./connection.js").State;
/**
 * what an endpoint's generated module says of it
 */
export type Description = {
    /**
     * with parameters in braces
     */
    paths: string[];
    /**
     * subprotocols to offer
     */
    protocols: string[];
    /**
     * the text that asks a silent server for a sign of life
     */
    ping: string | null;
    /**
     * types of the answers to a message, by its type
     */
    replies: Record<string, string[]>;
    /**
     * types of the answers that do not repeat the `ref`
     */
    unreferenced: string[];
    topics: import("./topics.js").TopicFields | null;
    closeCodes: import("./connection.js").CloseCodes;
};
export type OwnOptions = {
    /**
     * address of the site; that of the page by default
     */
    base?: string | URL | undefined;
    /**
     * parameters of the path
     */
    params?: Record<string, string> | undefined;
    /**
     * parameters of the query
     */
    query?: Record<string, string | number | boolean> | undefined;
    /**
     * gets an access token, for which the connection gets a
     * ticket; `renew` when the last one is refused or has expired
     */
    token?: ((renew: boolean) => string | Promise<string>) | undefined;
    /**
     * where a ticket is had
     */
    ticketUrl?: string | undefined;
    /**
     * milliseconds that an answer may take
     */
    timeout?: number | undefined;
};
export type TypedOptions = OwnOptions & Partial<ConnectionOptions>;
export type Request = {
    message: AnyMessage;
    sent: boolean;
    resolve: (answer: any) => void;
    reject: (error: Error) => void;
};
