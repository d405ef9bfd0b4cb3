/** Performs the steps of the conformance script, one for each line of its input, with the client in TypeScript. */

import readline from "node:readline";
import { pathToFileURL } from "node:url";

import { WebSocket } from "ws";

const [folder, base, token] = process.argv.slice(2);

/** Events that have come and nobody has asked for yet, or the other way round. */
class Mailbox {
  #items = [];
  #waiting = [];

  put = (item) => (this.#waiting.shift() ?? ((each) => this.#items.push(each)))(item);

  next = () => (this.#items.length ? Promise.resolve(this.#items.shift()) : new Promise((resolve) => this.#waiting.push(resolve)));
}

const clients = {};
const boxes = {};
const box = (...name) => (boxes[name.join()] ??= new Mailbox());

async function ticket() {
  const response = await fetch(new URL("/api/ws-ticket/", base), { method: "POST", headers: { authorization: `Bearer ${token}` } });
  return (await response.json()).ticket;
}

async function request({ client, message, timeout }) {
  const { RequestRefused, RequestTimeout, ConnectionLost } = clients[client].module;
  try {
    return { answer: await clients[client].socket.request(message, timeout && { timeout: timeout * 1000 }) };
  } catch (error) {
    if (error instanceof RequestRefused) return { refused: { code: error.code, detail: error.detail } };
    if (error instanceof RequestTimeout) return { timeout: true };
    if (error instanceof ConnectionLost) return { lost: true };
    throw error;
  }
}

async function until(client, phases) {
  for (;;) {
    const state = await box(client, "state").next();
    if (phases.includes(state.phase)) return state;
  }
}

const steps = {
  async open({ client, module: name, params, credential }) {
    const module = await import(pathToFileURL(`${folder}/${name}.js`));
    const [Socket] = Object.entries(module).filter(([key]) => key.endsWith("Socket")).map(([, value]) => value);
    const renewals = [];
    const getter = (value) => (renew) => (renewals.push(renew), value());
    const credentials = { token: { token: getter(() => token) }, ticket: { ticket: getter(ticket) }, wrong: { token: getter(() => "wrong") } };
    const socket = new Socket({ base, params, WebSocket, random: () => 0.02, ...credentials[credential] });
    clients[client] = { module, socket, renewals };
    socket.addEventListener("state", ({ detail }) => box(client, "state").put(detail));
    for (const type of ["News", "Error", "Joined", "Left"]) socket.on(type, box(client, type).put);
    socket.start();
    return until(client, ["open", "stopped"]);
  },
  request,
  ask: (step) => ((clients[step.client].asked = request(step)), {}),
  asked: ({ client }) => clients[client].asked,
  send: ({ client, message }) => ({ sent: clients[client].socket.send(message) }),
  event: ({ client, type }) => box(client, type).next(),
  state: ({ client, phase }) => until(client, [phase]),
  renewals: ({ client }) => clients[client].renewals,
  async stop({ client }) {
    clients[client].socket.stop();
    return until(client, ["stopped"]);
  },
  subscribe({ client, topic }) {
    const subscription = clients[client].socket.subscribe(topic);
    clients[client][topic] = subscription;
    for (const event of ["joined", "message", "left"]) subscription.on(event, (detail) => box(client, topic).put({ [event]: detail }));
    return box(client, topic).next();
  },
  unsubscribe({ client, topic }) {
    clients[client][topic].leave();
    return box(client, topic).next();
  },
  joined: async ({ client, topic }) => (await box(client, topic).next()).joined,
  async messages({ client, topic, count }) {
    const contents = [];
    while (contents.length < count) contents.push((await box(client, topic).next()).message.content);
    return contents;
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  console.log(JSON.stringify((await steps[step.do](step)) ?? null));
}
process.exit(0);
