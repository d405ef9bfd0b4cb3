// Made by `manage.py generateclient typescript`. Do not edit.

import type { TypedConnection, TypedOptions } from "../realtime/typed.js";

export { ConnectionLost, RequestRefused, RequestTimeout } from "../realtime/typed.js";

/** End a connection with 3003. */
export interface Disconnect {
  type: "Disconnect";
  channel: string;
}

/** Post a message to a room. */
export interface Announce {
  type: "Announce";
  room: string;
  content: string;
}

/** The state of all processes. ``sent`` and ``received`` count the messages of the process that answers. */
export interface Overview {
  type: "Overview";
  at: string;
  processes: number;
  connections: number;
  users: number;
  stored: number;
  received: number;
  sent: number;
  endpoints: EndpointNow[];
  rooms: RoomNow[];
  newest: ConnectionNow[];
}

/** A path and how many connections it has. */
export interface EndpointNow {
  path: string;
  connections: number;
}

/** A room, how many connections are in it, and how many messages it has. */
export interface RoomNow {
  room: string;
  connections: number;
  messages: number;
}

/** One connection. */
export interface ConnectionNow {
  channel: string;
  endpoint: string;
  user: string | null;
  address: string;
  since: string;
}

/** A command succeeded. */
export interface Done {
  type: "Done";
  detail: string;
}

/** A command failed. */
export interface Refused {
  type: "Refused";
  detail: string;
}

export type ClientMessage = Disconnect | Announce;

export type ServerMessage = Overview | Done | Refused;

/** The answers to a message, by its `type`. */
export interface Replies {
}

export type MonitorSocketOptions = TypedOptions;

/** Shows staff every second what is connected, and ends connections or announces something for them. */
export class MonitorSocket extends TypedConnection<ClientMessage, ServerMessage, Replies> {
  constructor(options?: MonitorSocketOptions);
}

