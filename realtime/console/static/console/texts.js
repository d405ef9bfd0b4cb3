/** What the server says in English, and the live page shows: for `makemessages` to find. No page loads it. */

import { gettext } from "../realtime/text.js";

export const texts = () => [
  // realtime/console/consumers.py
  gettext("Only staff who may view live connections may look at this."),
  gettext("Disconnected."),
  gettext("The database does not answer."),
  gettext("You may not end connections."),
  // realtime/console/monitor.py
  gettext("Announced."),
  gettext("There is no room of this name."),
  gettext("You may not announce anything."),
];
