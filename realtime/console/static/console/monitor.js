/** The live page of the admin: numbers, charts of the last two minutes, and what staff can do. */

import { Connection } from "../realtime/connection.js";
import { gettext, language } from "../realtime/text.js";

/** Overviews that a chart shows; one comes every second. */
const LENGTH = 120;
const WIDTH = 240;
const HEIGHT = 60;
const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {{path: string, connections: number}} EndpointNow
 * @typedef {{room: string, connections: number, messages: number}} RoomNow
 * @typedef {{channel: string, endpoint: string, user: string | null, address: string, since: string}} ConnectionNow
 * @typedef {{type: "Overview", at: string, processes: number, connections: number, users: number, stored: number, received: number, sent: number,
 *   endpoints: EndpointNow[], rooms: RoomNow[], newest: ConnectionNow[]}} Overview
 */

/**
 * @template {Element} T
 * @param {string} selector
 * @returns {T}
 */
const find = (selector) => /** @type {T} */ (document.querySelector(selector));

/** A line over the last two minutes. */
class Chart {
  /** @type {number[]} */ #values = [];
  #svg;
  #line = document.createElementNS(SVG, "polyline");
  #label;

  /** @param {SVGElement} svg */
  constructor(svg) {
    this.#svg = svg;
    this.#label = svg.getAttribute("aria-label");
    const base = document.createElementNS(SVG, "line");
    for (const [name, value] of Object.entries({ x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 })) base.setAttribute(name, String(value));
    svg.append(base, this.#line);
  }

  /** @param {number} value */
  add(value) {
    this.#values.push(value);
    if (this.#values.length > LENGTH) this.#values.shift();
    const top = Math.max(1, ...this.#values);
    const start = LENGTH - this.#values.length;
    const points = this.#values.map((one, index) => {
      const x = ((start + index) / (LENGTH - 1)) * WIDTH;
      return `${x.toFixed(1)},${(HEIGHT - 2 - (one / top) * (HEIGHT - 6)).toFixed(1)}`;
    });
    this.#line.setAttribute("points", points.join(" "));
    this.#svg.setAttribute("aria-label", gettext("%(label)s: %(now)s now, at most %(top)s in the last two minutes", { label: this.#label ?? "", now: written(value), top: written(top) }));
  }
}

/** @param {number} value */
const written = (value) => (Number.isInteger(value) ? value : value.toFixed(1)).toLocaleString(language());

/** @type {Record<string, Chart>} */
const charts = {};
for (const svg of document.querySelectorAll("svg[data-chart]")) {
  charts[/** @type {SVGElement} */ (svg).dataset.chart ?? ""] = new Chart(/** @type {SVGElement} */ (svg));
}

/** @type {Overview | null} */
let last = null;

/** @param {Overview} now */
function show(now) {
  const seconds = last ? (Date.parse(now.at) - Date.parse(last.at)) / 1000 : 0;
  /** @param {"stored" | "received" | "sent"} name */
  const rate = (name) => (last && seconds > 0 ? Math.max(0, now[name] - last[name]) / seconds : 0);
  draw("connections", now.connections);
  for (const name of /** @type {const} */ (["stored", "received", "sent"])) draw(name, rate(name));
  find("[data-value=processes]").textContent = String(now.processes);
  find("[data-value=users]").textContent = String(now.users);
  fill("[data-endpoints]", now.endpoints, ({ path, connections }) => [path, connections]);
  fill("[data-rooms]", now.rooms, ({ room, connections, messages }) => [room, connections, messages]);
  showConnections(now.newest);
  find("#live-room-names").replaceChildren(...now.rooms.map(({ room }) => Object.assign(document.createElement("option"), { value: room })));
  last = now;
}

/**
 * @param {string} name
 * @param {number} value
 */
function draw(name, value) {
  find(`[data-value=${name}]`).textContent = written(value);
  charts[name].add(value);
}

/**
 * @template T
 * @param {string} selector
 * @param {T[]} rows
 * @param {(row: T) => (string | number)[]} cells
 */
function fill(selector, rows, cells) {
  find(selector).replaceChildren(...rows.map((row) => tableRow(cells(row))));
}

/** @param {(string | number | Node)[]} cells */
function tableRow(cells) {
  const row = document.createElement("tr");
  for (const cell of cells) row.insertCell().append(cell instanceof Node ? cell : String(cell));
  return row;
}

/**
 * Keeps the rows that stay, so that the focus on a button is not lost every second.
 *
 * @param {ConnectionNow[]} connections
 */
function showConnections(connections) {
  const body = find("[data-connections]");
  /** @type {Map<string | undefined, HTMLTableRowElement>} */
  const known = new Map([...body.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.channel, /** @type {HTMLTableRowElement} */ (row)]));
  const wanted = connections.map((connection) => known.get(connection.channel) ?? connectionRow(connection));
  for (const row of known.values()) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, index) => {
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
}

/** @param {ConnectionNow} connection */
function connectionRow({ channel, endpoint, user, address, since }) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: gettext("Disconnect") });
  const who = user ?? gettext("anonymous");
  button.setAttribute("aria-label", gettext("Disconnect %(user)s from %(endpoint)s", { user: who, endpoint }));
  button.addEventListener("click", () => ask({ type: "Disconnect", channel }));
  const row = tableRow([endpoint, who, address, new Date(since).toLocaleTimeString(language()), button]);
  row.dataset.channel = channel;
  return row;
}

/** @param {string} text */
const say = (text) => (find("[data-status]").textContent = text);

/** @param {object} command */
function ask(command) {
  if (!connection.send(JSON.stringify(command))) say(gettext("There is no connection."));
}

/** @type {{closeCodes: import("../realtime/connection.js").CloseCodes, overview: Overview}} */
const data = JSON.parse(find("#realtime-data").textContent ?? "");
const connection = new Connection({ url: "/ws/admin/live", closeCodes: data.closeCodes });
connection.addEventListener("state", (event) => {
  const { phase, reason } = /** @type {CustomEvent} */ (event).detail;
  if (phase === "open") say(gettext("Connected."));
  if (phase === "waiting") say(gettext("Connection lost. Trying again."));
  if (phase === "stopped") say(reason ? gettext(reason) : gettext("Disconnected."));
});
connection.addEventListener("message", (event) => {
  const message = JSON.parse(/** @type {CustomEvent} */ (event).detail);
  if (message.type === "Overview") show(message);
  else say(gettext(message.detail));
});
/** @type {HTMLFormElement} */
const form = find("[data-announce]");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  ask({ type: "Announce", room: fields.get("room"), content: fields.get("content") });
  /** @type {HTMLInputElement} */ (form.elements.namedItem("content")).value = "";
});
show(data.overview);
connection.start();
