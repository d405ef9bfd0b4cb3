/**
 * The tokens of this tab. They are kept in memory only: what a script can read from storage, an injected script
 * can read too.
 */

import { gettext } from "../realtime/text.js";

/** Seconds before the end of an access token's life at which it is renewed. */
const RENEW_BEFORE = 30;

export class Account extends EventTarget {
  #urls;
  #csrf;
  #session;
  /** @type {string | null} */ #access = null;
  /** @type {string | null} */ #refresh = null;

  /**
   * @param {{token: string, refresh: string, ticket: string}} urls
   * @param {string} csrf the CSRF token, needed where the session authenticates
   * @param {boolean} session whether the page is logged in by a session
   */
  constructor(urls, csrf, session) {
    super();
    this.#urls = urls;
    this.#csrf = csrf;
    this.#session = session;
  }

  /** The access token, null before the sign-in. */
  get access() {
    return this.#access;
  }

  /** Whether a ticket can be had. */
  get known() {
    return this.#session || this.#access !== null;
  }

  /** When the access token expires; null without one. */
  get expires() {
    return this.#access ? new Date(claims(this.#access).exp * 1000) : null;
  }

  /**
   * Gets a pair of tokens.
   *
   * @param {Record<string, string>} credentials the password, and what the user model logs in by
   * @throws {Error} with the server's words
   */
  async signIn(credentials) {
    const tokens = await this.#post(this.#urls.token, credentials);
    this.#access = tokens.access;
    this.#refresh = tokens.refresh;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Gets a ticket that opens one connection.
   *
   * @returns {Promise<{ticket: string, expires_in: number}>}
   * @throws {Error} with the server's words
   */
  async ticket() {
    await this.#renew();
    return this.#post(this.#urls.ticket, {}, this.#access);
  }

  async #renew() {
    const expires = this.expires;
    if (!expires || expires.getTime() - Date.now() > RENEW_BEFORE * 1000) return;
    this.#access = (await this.#post(this.#urls.refresh, { refresh: this.#refresh })).access;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {string} url
   * @param {object} body
   * @param {string | null} [token]
   */
  async #post(url, body, token = null) {
    /** @type {Record<string, string>} */
    const headers = { "content-type": "application/json", accept: "application/json", "x-csrftoken": this.#csrf };
    if (token) headers.authorization = `Bearer ${token}`;
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(explain(response, text));
    return JSON.parse(text);
  }
}

/**
 * @param {string} token a JWT
 * @returns {{exp: number}} its claims, not verified: that is the server's part
 */
function claims(token) {
  const base64 = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
  return JSON.parse(atob(base64));
}

/**
 * @param {Response} response
 * @param {string} text
 */
function explain(response, text) {
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    return gettext("The server answered %(status)s.", { status: `${response.status} ${response.statusText}` });
  }
}
