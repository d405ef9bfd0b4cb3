/** What the server says in English on the socket, and the page shows: for `makemessages` to find. No page loads it. */

import { gettext } from "../realtime/text.js";

export const texts = () => [
  // realtime/rooms: errors
  gettext("You are banned from this room."),
  gettext("This room is archived; it can only be read."),
  gettext("Log in to write in this room."),
  gettext("You are no longer a member of this room."),
  gettext("This room is full."),
  gettext("The message could not be stored. Send it again, with the same ref."),
  gettext("The message is not stored yet. Send it again, with the same ref."),
  gettext("The server could not do that. Try again later."),
  gettext("content: a message needs a text."),
  // realtime/rooms/static/rooms/client.js
  gettext("You left the room."),
  gettext("The connection was interrupted."),
  gettext("The connection ended before the message was acknowledged."),
  gettext("No answer came in time."),
  gettext("There is no connection."),
  // realtime/engine: reasons of a close
  gettext("Your session has ended. Log in again."),
  gettext("disconnected by staff"),
  gettext("logged out everywhere"),
  gettext("the account was deactivated"),
  gettext("the session has ended"),
  gettext("The account or its right to be here is gone, or staff ended the connection."),
  gettext("Disconnected."),
];
