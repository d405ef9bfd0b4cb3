/** One-time tickets: what stands in the address of a handshake, to which a page cannot give a header. */

import { SignedOut } from "./connection.js";

/**
 * For a page that is logged in by a session.
 *
 * @param {string} url where a ticket is had
 * @param {string} csrf the CSRF token of the page
 * @returns {() => Promise<string>} gets a ticket; throws `SignedOut` once the session has ended
 */
export const sessionTickets = (url, csrf) => async () => {
  const response = await askForTicket(url, { "x-csrftoken": csrf });
  if (!response) throw new SignedOut("Your session has ended. Log in again.");
  return response;
};

/**
 * For a program or a page that has access tokens.
 *
 * @param {string | URL} url where a ticket is had
 * @param {(renew: boolean) => string | Promise<string>} getToken gets an access token; `renew` when the last one is refused
 * @returns {(renew: boolean) => Promise<string>} gets a ticket; throws `SignedOut` when a new token is refused, too
 */
export const tokenTickets = (url, getToken) => async (renew) => {
  for (const again of renew ? [true] : [false, true]) {
    const ticket = await askForTicket(url, { authorization: `Bearer ${await getToken(again)}` });
    if (ticket) return ticket;
  }
  throw new SignedOut("The access token is refused. Log in again.");
};

/**
 * @param {string | URL} url
 * @param {Record<string, string>} headers
 * @returns {Promise<string | null>} null if the credential is refused
 * @throws {Error} if the server cannot answer
 */
async function askForTicket(url, headers) {
  const response = await fetch(url, { method: "POST", headers: { ...headers, accept: "application/json" } });
  if (response.status === 401 || response.status === 403) return null;
  if (!response.ok) throw new Error(`The server answered ${response.status} to the request for a ticket.`);
  return (await response.json()).ticket;
}
