// Made by `manage.py generateclient typescript`. Do not edit.
// @ts-nocheck: its types are in monitor.d.ts

import { TypedConnection } from "../realtime/typed.js";

export { ConnectionLost, RequestRefused, RequestTimeout } from "../realtime/typed.js";

/** What `TypedConnection` has to know of the endpoint. */
const description = {
  paths: ["/ws/admin/live"],
  protocols: [],
  ping: null,
  replies: {},
  unreferenced: [],
  topics: null,
  closeCodes: {"1000": {"advice": "stop"}, "1001": {"advice": "reconnect"}, "1002": {"advice": "stop"}, "1003": {"advice": "stop"}, "1005": {"advice": "stop"}, "1006": {"advice": "reconnect"}, "1007": {"advice": "stop"}, "1008": {"advice": "stop"}, "1009": {"advice": "stop"}, "1011": {"advice": "reconnect"}, "1012": {"advice": "reconnect"}, "1013": {"advice": "reconnect"}, "3000": {"advice": "renew"}, "3003": {"advice": "stop"}, "3008": {"advice": "reconnect"}},
};

/** Shows staff every second what is connected, and ends connections or announces something for them. */
export class MonitorSocket extends TypedConnection {
  constructor(options = {}) {
    super(description, options);
  }
}

