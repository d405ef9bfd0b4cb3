"""realtime/engine/static/realtime/connection.js: a WebSocket that comes back."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Page

from realtime.engine.protocol.close import close_codes
from realtime.engine.testing import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

#: Makes a Connection that the following scripts find as ``connection``; ``states`` and ``messages`` record its events.
OPEN = """async ({url, ticket, longPause, ...options}) => {
  const { Connection, SignedOut } = await import("/static/realtime/connection.js");
  const closeCodes = CLOSE_CODES;
  window.states = [];
  window.messages = [];
  window.renewals = [];
  const getTicket = {
    none: null,
    empty: async (renew) => { renewals.push(renew); return null; },
    refused: async () => { throw new SignedOut("Log in again."); },
  }[ticket ?? "none"];
  const random = () => (longPause ? 1e6 : 0.02);
  window.connection = new Connection({ url, closeCodes, random, ticket: getTicket, ...options });
  connection.addEventListener("state", ({ detail }) => states.push(detail));
  connection.addEventListener("message", ({ detail }) => messages.push(detail));
  connection.start();
}""".replace("CLOSE_CODES", json.dumps(close_codes()))


async def until(page: Page, condition: str) -> None:
    await page.wait_for_function(f"() => {condition}")


async def phases(page: Page) -> list[str]:
    return await page.evaluate("() => states.map(({ phase }) => phase)")


async def test_it_opens_and_messages_go_both_ways(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"url": "/ws"})
    await until(page, "states.at(-1)?.phase === 'open'")
    assert await page.evaluate("() => connection.send('hello')") is True
    await until(page, "messages.length === 1")
    assert await page.evaluate("() => messages") == ["hello"]
    assert await phases(page) == ["connecting", "open"]


async def test_nothing_is_sent_without_a_connection(new_page, complaints):
    complaints.expected.update(complaints.NETWORK)
    page = await new_page()
    await page.evaluate(OPEN, {"url": "/ws"})
    await page.evaluate("() => connection.stop()")
    assert await page.evaluate("() => connection.send('hello')") is False
    assert await page.evaluate("() => connection.state.phase") == "stopped"


async def test_it_comes_back_when_the_server_does(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await new_page("/login/", base_url=first.http(""))
        await page.evaluate(OPEN, {"url": "/ws"})
        await until(page, "states.at(-1)?.phase === 'open'")
        first.kill()
        await until(page, "states.some(({ phase }) => phase === 'waiting')")
    with ServerProcess(database=database, port=first.port):
        await until(page, "states.at(-1)?.phase === 'open'")
        await page.evaluate("() => connection.send('again')")
        await until(page, "messages.includes('again')")


async def test_a_code_that_advises_to_stop_ends_the_attempts(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"url": "/ws/chat"})
    await until(page, "states.at(-1)?.phase === 'open'")
    await page.evaluate("() => connection.send('x'.repeat(70_000))")
    await until(page, "states.at(-1)?.phase === 'stopped'")
    assert await page.evaluate("() => states.at(-1).code") == 1009


async def test_a_person_who_has_to_sign_in_is_not_tried_again(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"url": "/ws", "ticket": "refused"})
    await until(page, "states.at(-1)?.phase === 'stopped'")
    assert await page.evaluate("() => states.at(-1).reason") == "Log in again."


async def test_a_silent_server_is_given_up_and_tried_again(new_page):
    page = await new_page()
    # /ws/chat answers nobody alone: to its only client it is as silent as a dead server.
    await page.evaluate(OPEN, {"url": "/ws/chat", "ping": "are you there?", "pingAfter": 50, "pingTimeout": 50})
    await until(page, "states.filter(({ phase }) => phase === 'open').length >= 2")
    assert (
        await page.evaluate("() => states.find(({ phase }) => phase === 'waiting').reason")
        == "The server has gone silent."
    )


async def test_an_answer_to_the_ping_keeps_the_connection(new_page):
    page = await new_page()
    await page.evaluate(OPEN, {"url": "/ws", "ping": "ping", "pingAfter": 20, "pingTimeout": 10_000})
    await until(page, "messages.length >= 3")
    assert await phases(page) == ["connecting", "open"]


async def test_the_pause_before_an_attempt_grows_to_thirty_seconds(new_page):
    page = await new_page()
    pauses = await page.evaluate(
        "async () => { const { pause } = await import('/static/realtime/connection.js');"
        " return [0, 1, 2, 5, 6, 7, 50].map((attempt) => pause(attempt, () => 1)); }"
    )
    assert pauses == [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]


async def test_it_tries_at_once_when_the_network_is_back(new_page, complaints):
    complaints.expected.update(complaints.NETWORK)
    page = await new_page()
    # The pause is two thirds of a minute and more: only the event can cut it short.
    await page.evaluate(OPEN, {"url": "/no-such-endpoint", "longPause": True})
    await until(page, "states.at(-1)?.phase === 'waiting'")
    attempts = (await phases(page)).count("connecting")
    await page.evaluate("() => dispatchEvent(new Event('online'))")
    await until(page, "states.filter((state) => state.phase === 'connecting').length > " + str(attempts))
    await page.evaluate("() => connection.stop()")
