/** A console for one WebSocket: handshake, frames in both directions, and how it ended. */

import { gettext } from "../realtime/text.js";
import { byteLength, excerpt, hex, parseHex } from "./format.js";
import { FrameLog } from "./framelog.js";

/**
 * @typedef {{path: string, example: string, authentication: string, needs: string[], subprotocols: string[], message: string, presets: Preset[]}} Endpoint
 * @typedef {{label: string, connect?: {address?: string, protocols?: string[], ticket?: boolean}, send?: {text?: string, hex?: string, size?: number, times?: number}}} Preset
 * @typedef {Record<string, {name: string, meaning: string, advice: string, next: string}>} CloseCodes
 * @typedef {import("./account.js").Account} Account
 */

export class Console {
  #endpoint;
  #closeCodes;
  #account;
  #log;
  /** @type {WebSocket | null} */ #socket = null;
  #opened = false;

  /**
   * @param {Endpoint} endpoint
   * @param {CloseCodes} closeCodes
   * @param {Account} account
   * @param {number} number 1 for the first console of its endpoint
   */
  constructor(endpoint, closeCodes, account, number) {
    this.#endpoint = endpoint;
    this.#closeCodes = closeCodes;
    this.#account = account;
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("console-template"));
    this.root = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    const { path } = endpoint;
    const one = gettext("Console of %(path)s", { path });
    this.root.setAttribute("aria-label", number > 1 ? gettext("Console of %(path)s, client %(number)s", { path, number }) : one);
    this.#log = new FrameLog(this.#find("[data-log]"));
    this.#fill();
    this.#listen();
    this.#phase("idle", gettext("Not connected"));
  }

  /**
   * @template {HTMLElement} T
   * @param {string} selector
   * @returns {T}
   */
  #find(selector) {
    return /** @type {T} */ (this.root.querySelector(selector));
  }

  /**
   * @param {string} name
   * @returns {HTMLInputElement}
   */
  #field(name) {
    return this.#find(`[name=${name}]`);
  }

  #fill() {
    this.#field("address").value = this.#absolute(this.#endpoint.example);
    this.#field("protocols").value = this.#endpoint.subprotocols.join(", ");
    this.#field("message").value = this.#endpoint.message;
    this.#find("[data-ticket-choice]").hidden = this.#endpoint.authentication === "none";
    this.#find("[data-log]").setAttribute("aria-label", gettext("Frames of %(path)s", { path: this.#endpoint.path }));
  }

  #listen() {
    const submit = (/** @type {string} */ form, /** @type {() => void} */ action) =>
      this.#find(form).addEventListener("submit", (event) => {
        event.preventDefault();
        action();
      });
    submit("[data-handshake]", () => this.connect());
    submit("[data-composer]", () => this.send());
    submit("[data-closing]", () => this.disconnect());
    this.#find("[data-presets]").append(...this.#endpoint.presets.map((preset) => this.#presetButton(preset)));
    this.#find("[data-clear]").addEventListener("click", () => this.#log.clear());
    this.#field("message").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
  }

  /** @param {Preset} preset */
  #presetButton(preset) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = preset.label;
    button.addEventListener("click", () => this.#try(preset));
    return button;
  }

  /** @param {Preset} preset */
  async #try({ connect, send }) {
    if (connect) {
      await this.#leave();
      if (connect.address) this.#field("address").value = this.#absolute(connect.address);
      if (connect.protocols) this.#field("protocols").value = connect.protocols.join(", ");
      this.#field("ticket").checked = connect.ticket ?? true;
      await this.connect();
    }
    if (!send) return;
    await this.connect();
    const data = send.hex === undefined ? (send.text ?? "x".repeat(send.size ?? 0)) : parseHex(send.hex).buffer;
    for (let sent = 0; sent < (send.times ?? 1) && this.#socket?.readyState === WebSocket.OPEN; sent += 1) this.transmit(data);
  }

  /** Closes the connection, if there is one, and waits for its end. */
  async #leave() {
    const socket = this.#socket;
    if (!socket) return;
    await new Promise((resolve) => {
      socket.addEventListener("close", resolve);
      socket.close();
    });
  }

  /** @param {string} path */
  #absolute(path) {
    return new URL(path, location.href).href.replace(/^http/, "ws");
  }

  #protocols() {
    return this.#field("protocols").value.split(",").map((name) => name.trim()).filter(Boolean);
  }

  /** Opens the connection that the form describes, and waits until it is open or refused. */
  async connect() {
    if (this.#socket) return;
    this.#error("");
    this.#phase("connecting", gettext("Connecting…"));
    const protocols = this.#protocols();
    try {
      const address = await this.#address();
      await this.#open(new WebSocket(address, protocols), protocols);
    } catch (error) {
      this.#phase("ended", gettext("Not connected"));
      this.#log.add("bad", "note", /** @type {Error} */ (error).message);
    }
  }

  async #address() {
    const url = new URL(this.#field("address").value, location.href);
    const wanted = this.#endpoint.authentication !== "none" && this.#field("ticket").checked;
    if (wanted && this.#account.known && !url.searchParams.has("ticket")) {
      url.searchParams.set("ticket", (await this.#account.ticket()).ticket);
    }
    return url;
  }

  /**
   * @param {WebSocket} socket
   * @param {string[]} protocols what is offered
   * @returns {Promise<void>} when it is decided
   */
  #open(socket, protocols) {
    this.#socket = socket;
    this.#opened = false;
    socket.binaryType = "arraybuffer";
    const offer = protocols.length ? `, ${gettext("offering %(names)s", { names: protocols.join(", ") })}` : "";
    this.#log.add("note", "handshake", `GET ${withoutTicket(socket.url)}${offer}`);
    socket.addEventListener("open", () => {
      this.#opened = true;
      const protocol = socket.protocol ? gettext("subprotocol %(name)s", { name: socket.protocol }) : gettext("no subprotocol");
      this.#log.add("note", "handshake", `101 Switching Protocols, ${protocol}`);
      this.#phase("open", `${gettext("Connected")}, ${protocol}`);
    });
    socket.addEventListener("message", ({ data }) => this.#frame("in", data));
    socket.addEventListener("close", (event) => this.#ended(event));
    return new Promise((resolve) => {
      socket.addEventListener("open", () => resolve());
      socket.addEventListener("close", () => resolve());
    });
  }

  /** Sends what stands in the composer. */
  send() {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      this.#error(gettext("Not connected: connect first."));
      return;
    }
    const text = this.#field("message").value;
    try {
      this.transmit(this.#field("kind").value === "binary" ? parseHex(text).buffer : text);
      this.#error("");
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#error(error.message);
    }
  }

  /**
   * Sends one message on the open connection and shows it.
   *
   * @param {string | ArrayBuffer} data
   */
  transmit(data) {
    this.#socket?.send(data);
    this.#frame("out", data);
  }

  /** Closes the connection with the code and reason of the form. */
  disconnect() {
    const code = Number(this.#field("code").value);
    const reason = this.#field("reason").value;
    if (byteLength(reason) > 123) {
      this.#error(gettext("A close reason is at most 123 bytes; this one has %(count)s.", { count: byteLength(reason) }));
      return;
    }
    this.#log.add("out", "close", `${code} ${reason}`.trim());
    this.#socket?.close(code, reason);
  }

  /** @param {CloseEvent} event */
  #ended({ code, reason, wasClean }) {
    this.#socket = null;
    if (!this.#opened) {
      this.#phase("ended", gettext("Refused"));
      this.#log.add("bad", "handshake", gettext("The handshake was refused, or the server was not reached. A browser does not say which."));
      this.#explain();
      return;
    }
    const entry = this.#closeCodes[code];
    const meaning = entry ? `${entry.meaning} ${entry.next}` : gettext("A code of the application’s own.");
    const name = entry ? ` ${entry.name}` : "";
    this.#phase(code === 1000 ? "idle" : "ended", `${gettext("Closed with %(code)s", { code })}${name}${reason ? `: ${reason}` : ""}`);
    this.#log.add(wasClean && code === 1000 ? "note" : "bad", "close", `${code}${name}${reason ? ` “${reason}”` : ""}\n${meaning}`);
  }

  /** Says what the endpoint asks for: the status and the body of a refusal are hidden from a page. */
  #explain() {
    const { path, needs } = this.#endpoint;
    const asks = needs.length
      ? gettext("%(path)s asks for %(needs)s.", { path, needs: needs.join("; ") })
      : gettext("%(path)s asks for nothing but an origin of this site.", { path });
    this.#log.add("bad", "handshake", `${asks}\n${gettext("The browser’s network panel shows the status and the body of the answer.")}`);
  }

  /**
   * @param {"in" | "out"} direction
   * @param {string | ArrayBuffer} data
   */
  #frame(direction, data) {
    if (typeof data === "string") this.#log.add(direction, "text", excerpt(data), byteLength(data));
    else this.#log.add(direction, "binary", hex(new Uint8Array(data)), data.byteLength);
  }

  /**
   * @param {"idle" | "connecting" | "open" | "ended"} phase
   * @param {string} text
   */
  #phase(phase, text) {
    this.root.dataset.phase = phase;
    this.#find("[data-state-text]").textContent = text;
    const busy = phase === "connecting" || phase === "open";
    /** @type {HTMLButtonElement} */ (this.#find("[data-connect]")).disabled = busy;
    this.#field("address").disabled = this.#field("protocols").disabled = busy;
    /** @type {HTMLButtonElement} */ (this.#find("[data-send]")).disabled = phase !== "open";
    /** @type {HTMLButtonElement} */ (this.#find("[data-close]")).disabled = phase !== "open";
  }

  /** @param {string} text */
  #error(text) {
    this.#find("[data-error]").textContent = text;
  }
}

/**
 * @param {string} url
 * @returns {string} the address as it may be shown: a ticket is a secret until it is used
 */
const withoutTicket = (url) => url.replace(/([?&]ticket=)[^&]*/, "$1…");
