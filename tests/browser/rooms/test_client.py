"""realtime/rooms/static/rooms/client.js: rooms, tokens that expire, answers that are lost."""

from __future__ import annotations

import datetime
import json
import signal

import pytest
from playwright.async_api import Page
from rest_framework_simplejwt.tokens import AccessToken

from realtime.engine.protocol.close import close_codes
from realtime.engine.testing import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

#: Primary key of ann; admin is made first.
ANN = 2

#: Makes a RoomsClient in a page; ``events`` are its events, in order. Tokens are used one after the other.
OPEN = """async ({ tokens, room, ...options }) => {
  const { RoomsClient } = await import("/static/rooms/client.js");
  const closeCodes = CLOSE_CODES;
  const current = () => tokens[0];
  const expires = (token) => new Date(JSON.parse(atob(token.split(".")[1])).exp * 1000);
  window.events = [];
  window.renewals = [];
  const ticket = async (renew) => {
    renewals.push(renew);
    if (renew) tokens.shift();
    const headers = { authorization: `Bearer ${current()}` };
    const response = await fetch("/api/ws-ticket/", { method: "POST", headers });
    return (await response.json()).ticket;
  };
  const token = async () => {
    if (options.renewBefore && client.state.phase === "open" && started) tokens.shift();
    started = true;
    return { token: current(), expires: expires(current()) };
  };
  let started = false;
  const client = new RoomsClient({
    url: "/ws/rooms", closeCodes, ticket, random: () => 0.02, token: options.renewBefore ? token : null, ...options,
  });
  for (const type of ["state", "joined", "message", "sent", "failed", "authenticated", "refused", "left"])
    client.addEventListener(type, ({ detail }) => events.push([type, structuredClone(detail)]));
  window.client = client;
  client.join(room);
  client.start();
}""".replace("CLOSE_CODES", json.dumps(close_codes()))


def token(**lifetime: float) -> str:
    access = AccessToken()
    access["user_id"] = str(ANN)
    access.set_exp(lifetime=datetime.timedelta(**lifetime))
    return str(access)


async def until(page: Page, condition: str) -> None:
    await page.wait_for_function(f"() => {condition}")


async def test_a_token_that_expires_while_the_page_is_open_is_replaced_and_nothing_is_lost(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "expiry", "tokens": [token(seconds=3), token(minutes=5)]})
    await until(page, "events.some(([type]) => type === 'joined')")
    await page.evaluate("() => client.say('expiry', 'before')")
    await until(page, "events.some(([type, detail]) => type === 'state' && detail.code === 3000)")
    await page.evaluate("() => client.say('expiry', 'while away')")
    await until(page, "events.filter(([type]) => type === 'sent').length === 2")
    assert await page.evaluate("() => renewals") == [False, True]
    sequence = await page.evaluate("() => events.filter(([type]) => type === 'sent').map(([, detail]) => detail.seq)")
    assert sequence == [1, 2]


async def test_a_token_is_renewed_before_it_expires_without_a_break(new_page):
    page = await new_page()
    tokens = [token(seconds=30), token(minutes=5)]
    await page.evaluate(OPEN, {"room": "renewal", "tokens": tokens, "renewBefore": 29_500})
    await until(page, "events.some(([type]) => type === 'authenticated')")
    event = await page.evaluate("() => events.find(([type]) => type === 'authenticated')[1]")
    assert event["user"] == "ann"
    remaining = datetime.datetime.fromisoformat(event["expires_at"]) - datetime.datetime.now(datetime.UTC)
    assert remaining > datetime.timedelta(minutes=3)
    phases = await page.evaluate("() => events.filter(([type]) => type === 'state').map(([, detail]) => detail.phase)")
    assert phases == ["connecting", "open"]


async def test_a_message_whose_answer_is_lost_is_sent_again_and_stored_once(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "lost-answer", "tokens": [token(minutes=5)]})
    await until(page, "events.some(([type]) => type === 'joined')")
    # The connection ends after the message went out and before its answer is read.
    await page.evaluate(
        """() => {
          const { send } = WebSocket.prototype;
          WebSocket.prototype.send = function (data) {
            send.call(this, data);
            if (!data.includes("only once")) return;
            WebSocket.prototype.send = send;
            const end = this.onclose;
            this.onmessage = null;
            this.onclose = null;
            this.close();
            end({ code: 1006, reason: "" });
          };
          client.say("lost-answer", "only once");
        }"""
    )
    await until(page, "events.some(([type]) => type === 'sent')")
    await page.evaluate("() => client.say('lost-answer', 'next')")
    await until(page, "events.filter(([type]) => type === 'sent').length === 2")
    numbers = await page.evaluate("() => events.filter(([type]) => type === 'sent').map(([, detail]) => detail.seq)")
    assert numbers == [1, 2]


async def test_a_room_is_taken_up_where_it_was_left(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "resume", "tokens": [token(minutes=5)]})
    other = await new_page()
    await other.evaluate(OPEN, {"room": "resume", "tokens": [token(minutes=5)]})
    await until(other, "events.some(([type]) => type === 'joined')")
    await other.evaluate("() => client.say('resume', 'one')")
    await until(page, "events.some(([type, detail]) => type === 'message' && detail.content === 'one')")
    await page.evaluate("() => client.stop()")
    await other.evaluate("() => { client.say('resume', 'two'); client.say('resume', 'three'); }")
    await until(other, "events.filter(([type]) => type === 'sent').length === 3")
    await page.evaluate("() => client.start()")
    await until(page, "events.filter(([type]) => type === 'joined').length === 2")
    joined = await page.evaluate("() => events.filter(([type]) => type === 'joined')[1][1]")
    assert joined["recovered"] is True
    assert [message["content"] for message in joined["messages"]] == ["two", "three"]


async def test_a_room_that_does_not_exist_is_refused_once(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "no room!", "tokens": [token(minutes=5)]})
    await until(page, "events.some(([type]) => type === 'refused')")
    assert await page.evaluate("() => events.find(([type]) => type === 'refused')[1].code") == "unknown_room"
    error = await page.evaluate("() => { try { client.say('no room!', 'x'); } catch (error) { return error.name; } }")
    assert error == "RangeError"


async def test_what_waits_for_a_room_that_is_refused_fails_in_words(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "lobby", "tokens": [token(minutes=5)]})
    # At once: the refusal of the room may come at any time.
    await page.evaluate("() => { client.join('no room!'); client.say('no room!', 'x'); }")
    await until(page, "events.some(([type]) => type === 'failed')")
    assert "no room" in await page.evaluate("() => events.find(([type]) => type === 'failed')[1].detail")


async def test_more_messages_than_the_outbox_holds_are_refused_at_once(new_page, complaints):
    complaints.expected.update(complaints.NETWORK)
    page = await new_page()
    await page.evaluate(OPEN, {"room": "outbox", "tokens": [token(minutes=5)]})
    error = await page.evaluate(
        """() => {
          client.stop();
          try { for (let n = 0; n <= 200; n += 1) client.say("outbox", String(n)); }
          catch (error) { return [error.name, client.pending]; }
        }"""
    )
    assert error == ["RangeError", 200]


async def test_a_room_is_asked_for_again_after_an_error_that_passes(new_page):
    page = await new_page()
    # The first answer to Join is an error of the kind that passes.
    await page.evaluate(
        """() => {
          const { parse } = JSON;
          JSON.parse = (text) => {
            const message = parse(text);
            if (message.type !== "Joined") return message;
            JSON.parse = parse;
            return { type: "Error", code: "internal", detail: "Try again.", ref: `join:${message.room}` };
          };
        }"""
    )
    await page.evaluate(OPEN, {"room": "again", "tokens": [token(minutes=5)]})
    await until(page, "events.some(([type]) => type === 'joined')")
    assert await page.evaluate("() => events.some(([type]) => type === 'refused')") is False


async def test_without_retry_a_message_without_an_answer_is_reported_as_uncertain(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "no-retry", "tokens": [token(minutes=5)], "retry": False})
    await until(page, "events.some(([type]) => type === 'joined')")
    await page.evaluate("() => { client.say('no-retry', 'hello'); client.stop(); }")
    await until(page, "events.some(([type]) => type === 'failed')")
    assert await page.evaluate("() => events.find(([type]) => type === 'failed')[1].uncertain") is True
    assert await page.evaluate("() => client.pending") == 0


async def test_what_waits_for_a_room_that_is_left_without_a_connection_fails_at_once(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await new_page("/login/", base_url=first.http(""))
        await page.evaluate(OPEN, {"room": "left-offline", "tokens": [token(minutes=5)]})
        await until(page, "events.some(([type]) => type === 'joined')")
        first.kill()
        await until(page, "client.state.phase === 'waiting'")
        await page.evaluate("() => { client.say('left-offline', 'stranded?'); client.leave('left-offline'); }")
        assert await page.evaluate("() => client.pending") == 0
        failed = await page.evaluate("() => events.find(([type]) => type === 'failed')[1]")
        assert (failed["content"], failed["uncertain"]) == ("stranded?", False)
        await page.evaluate("() => client.stop()")


async def test_a_message_whose_answer_is_cut_off_after_leaving_is_reported_as_uncertain(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await new_page("/login/", base_url=first.http(""))
        await page.evaluate(OPEN, {"room": "left-early", "tokens": [token(minutes=5)]})
        await until(page, "events.some(([type]) => type === 'joined')")
        first.process.send_signal(signal.SIGSTOP)
        await page.evaluate("() => { client.say('left-early', 'bye'); client.leave('left-early'); }")
        first.kill()
        await until(page, "events.some(([type]) => type === 'failed')")
        assert await page.evaluate("() => events.find(([type]) => type === 'failed')[1].uncertain") is True
        assert await page.evaluate("() => client.pending") == 0
        await page.evaluate("() => client.stop()")


async def test_a_message_sent_before_leaving_is_acknowledged(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "farewell", "tokens": [token(minutes=5)]})
    await until(page, "events.some(([type]) => type === 'joined')")
    await page.evaluate("() => { client.say('farewell', 'bye'); client.leave('farewell'); }")
    await until(page, "events.some(([type]) => type === 'left') && client.pending === 0")
    assert await page.evaluate("() => events.filter(([type]) => type === 'sent').length") == 1


async def test_a_room_that_is_left_and_joined_at_once_is_joined(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"room": "revolving", "tokens": [token(minutes=5)]})
    await until(page, "events.some(([type]) => type === 'joined')")
    await page.evaluate(
        "() => { client.leave('revolving'); client.join('revolving'); client.say('revolving', 'back again'); }"
    )
    await until(page, "events.some(([type]) => type === 'sent')")
    assert await page.evaluate("() => events.some(([type]) => type === 'failed')") is False


async def test_what_is_said_before_the_room_is_taken_up_again_keeps_its_place(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await new_page("/login/", base_url=first.http(""))
        await page.evaluate(OPEN, {"room": "in-order", "tokens": [token(minutes=5)]})
        await until(page, "events.some(([type]) => type === 'joined')")
        first.kill()
        await until(page, "client.state.phase === 'waiting'")
        # The second message is said on the new connection, before the server has answered the Join.
        await page.evaluate(
            """() => {
              window.refs = [client.say("in-order", "first")];
              client.addEventListener("state", ({ detail }) => {
                if (detail.phase === "open") queueMicrotask(() => refs.push(client.say("in-order", "second")));
              });
            }"""
        )
    with ServerProcess(database=database, port=first.port):
        await until(page, "events.filter(([type]) => type === 'sent').length === 2")
        sent = "events.filter(([type]) => type === 'sent')"
        order = await page.evaluate(f"() => {sent}.map(([, detail]) => refs.indexOf(detail.ref))")
        assert order == [0, 1]


@pytest.mark.parametrize(
    ("seen", "position"),
    [([1, 2, 3], 3), ([2], 0), ([2, 1], 2), ([1, 3], 1), ([1, 3, 2], 3), ([1, 1, 1], 1), ([3, 2, 1], 3)],
)
async def test_the_position_moves_on_only_over_an_unbroken_row(new_page, seen, position):
    page = await new_page()
    moved = await page.evaluate(
        """async (seen) => {
          const { Position } = await import("/static/realtime/topics.js");
          const position = new Position("epoch", 0);
          return [seen.filter((seq) => position.see(seq)), position.seq];
        }""",
        seen,
    )
    assert moved == [list(dict.fromkeys(seen)), position]


async def test_the_generated_client_talks_for_the_session_of_the_page(new_page, password):
    page = await new_page("/login/")
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(lambda url: "/login/" not in url)
    answers = await page.evaluate(
        """async () => {
          const { RequestRefused, RoomsSocket } = await import("/static/client/rooms.js");
          const socket = new RoomsSocket();
          const joined = new Promise((resolve) => socket.subscribe("generated").on("joined", resolve));
          socket.start();
          const { seq } = await joined;
          const acknowledged = await socket.request({ type: "Chat", content: "hello" });
          const page = await socket.request({ type: "History" });
          const refused = await socket.request({ type: "Chat", content: "" }).catch((error) => error);
          socket.stop();
          return [seq, acknowledged.seq, page.messages[0].user, refused instanceof RequestRefused && refused.code];
        }"""
    )
    assert answers == [0, 1, "ann", "invalid_message"]
