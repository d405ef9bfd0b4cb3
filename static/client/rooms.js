// Made by `manage.py generateclient typescript`. Do not edit.
// @ts-nocheck: its types are in rooms.d.ts

import { TypedConnection } from "../realtime/typed.js";

export { ConnectionLost, RequestRefused, RequestTimeout } from "../realtime/typed.js";

/** What `TypedConnection` has to know of the endpoint. */
const description = {
  paths: ["/ws/rooms", "/ws/rooms/{room}"],
  protocols: [],
  ping: "{\"type\": \"Ping\"}",
  replies: {"Join": ["Joined"], "Chat": ["Ack"], "Leave": ["Left"], "History": ["History"], "Authenticate": ["Authenticated"], "Ping": ["Pong"]},
  unreferenced: ["Joined", "Left", "History", "Authenticated", "Pong"],
  topics: {"key": "room", "item": "Chat", "seen": ["Ack"]},
  closeCodes: {"1000": {"advice": "stop"}, "1001": {"advice": "reconnect"}, "1002": {"advice": "stop"}, "1003": {"advice": "stop"}, "1005": {"advice": "stop"}, "1006": {"advice": "reconnect"}, "1007": {"advice": "stop"}, "1008": {"advice": "stop"}, "1009": {"advice": "stop"}, "1011": {"advice": "reconnect"}, "1012": {"advice": "reconnect"}, "1013": {"advice": "reconnect"}, "3000": {"advice": "renew"}, "3003": {"advice": "stop"}, "3008": {"advice": "reconnect"}},
};

/** Lets a client join rooms, talk there, and come back without missing anything. */
export class RoomsSocket extends TypedConnection {
  constructor(options = {}) {
    super(description, options);
  }
}

