// Made by `manage.py generateclient typescript`. Do not edit.

import type { TypedConnection, TypedOptions } from "../realtime/typed.js";

export { ConnectionLost, RequestRefused, RequestTimeout } from "../realtime/typed.js";

/** Enter a room, and get what was said there since ``since``, or the newest messages. */
export interface Join {
  type: "Join";
  room: string;
  since?: Position | null;
  ref?: string | null;
}

/** How far a client has read: the numbering, and the last number seen in it. */
export interface Position {
  epoch: string;
  seq: number;
}

/** Post a message; ``room`` is needed only by a client that is in several. */
export interface Post {
  type: "Chat";
  content: string;
  room?: string | null;
  ref?: string | null;
}

/** Leave a room; ``room`` is needed only by a client that is in several. */
export interface Leave {
  type: "Leave";
  room?: string | null;
  ref?: string | null;
}

/** Ask for at most ``limit`` messages before number ``before``, or for the newest. */
export interface History {
  type: "History";
  room?: string | null;
  before?: number | null;
  limit?: number;
  ref?: string | null;
}

/** Bring an access token: a first one, or a newer one of the same user. */
export interface Authenticate {
  type: "Authenticate";
  token: string;
  ref?: string | null;
}

/** Ask for a ``Pong``, for clients that cannot send protocol pings: browsers. */
export interface Ping {
  type: "Ping";
  ref?: string | null;
}

/** The client is in the room. ``recovered``: ``messages`` is exactly what came after its ``since``. */
export interface Joined {
  type: "Joined";
  room: string;
  epoch: string;
  seq: number;
  members: string[];
  recovered: boolean;
  messages: Chat[];
}

/** A stored message. */
export interface Chat {
  type: "Chat";
  room: string;
  seq: number;
  user: string;
  content: string;
  at: string;
}

/** The client's message is stored under this number. */
export interface Ack {
  type: "Ack";
  ref: string | null;
  room: string;
  seq: number;
  at: string;
}

/** The client is no longer in the room, by its own wish or because it may not be. */
export interface Left {
  type: "Left";
  room: string;
}

/** Whether the client may write in a room that it is in has changed. */
export interface Access {
  type: "Access";
  room: string;
  may_post: boolean;
}

/** Somebody else came (``joined``) or went (``left``). */
export interface Presence {
  type: "Presence";
  room: string;
  user: string;
  state: "joined" | "left";
}

/** The answer to ``History``, oldest message first. */
export interface Page {
  type: "History";
  room: string;
  messages: Chat[];
}

/** A moderator has hidden a message; clients remove it from view. */
export interface Hidden {
  type: "Hidden";
  room: string;
  seq: number;
}

/** The token was accepted, until ``expires_at``. */
export interface Authenticated {
  type: "Authenticated";
  user: string;
  expires_at: string;
}

/** The answer to ``Ping``. */
export interface Pong {
  type: "Pong";
}

/** The client's message had no effect; the connection and all other messages are not touched. */
export interface Error {
  type: "Error";
  code: "forbidden" | "internal" | "invalid_message" | "not_joined" | "rate_limited" | "too_large" | "unauthorized" | "unknown_room";
  detail: string;
  ref: string | null;
}

export type ClientMessage = Join | Post | Leave | History | Authenticate | Ping;

export type ServerMessage = Joined | Chat | Ack | Left | Access | Presence | Page | Hidden | Authenticated | Pong | Error;

/** The answers to a message, by its `type`. */
export interface Replies {
  Join: Joined;
  Chat: Ack;
  Leave: Left;
  History: Page;
  Authenticate: Authenticated;
  Ping: Pong;
}

export type RoomsSocketOptions = TypedOptions;

/** Lets a client join rooms, talk there, and come back without missing anything. */
export class RoomsSocket extends TypedConnection<ClientMessage, ServerMessage, Replies, Joined, Chat> {
  constructor(options?: RoomsSocketOptions);
}

