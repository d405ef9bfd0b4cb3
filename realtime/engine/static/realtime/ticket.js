/** One-time tickets for a page that is logged in by a session. */

import { SignedOut } from "./connection.js";

/**
 * @param {string} url where a ticket is had
 * @param {string} csrf the CSRF token of the page
 * @returns {() => Promise<string>} gets a ticket; throws `SignedOut` once the session has ended
 */
export function sessionTickets(url, csrf) {
  return async () => {
    const response = await fetch(url, { method: "POST", headers: { "x-csrftoken": csrf, accept: "application/json" } });
    if (response.status === 401 || response.status === 403) throw new SignedOut("Your session has ended. Log in again.");
    if (!response.ok) throw new Error(`The server answered ${response.status} to the request for a ticket.`);
    return (await response.json()).ticket;
  };
}
