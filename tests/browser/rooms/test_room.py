"""The chat page in a real browser: two people, a server that dies, text that is no markup."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, Page, expect

from realtime.engine.testing import PROJECT_ROOT, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"

#: Bytes of the page and of everything that it loads.
PAGE_WEIGHT = 80 * 1024

#: Says many things by the page's own client module, and returns when all are stored.
SAY_MANY = """async ({ room, count }) => {
  const { RoomsClient } = await import("/static/rooms/client.js");
  const client = new RoomsClient({ url: "/ws/rooms", closeCodes: {} });
  client.join(room);
  client.start();
  for (let sent = 0; sent < count; sent += 50) {
    await new Promise((resolve) => {
      client.addEventListener("sent", () => client.pending === 0 && resolve());
      for (let n = sent + 1; n <= Math.min(count, sent + 50); n += 1) client.say(room, `message ${n}`);
    });
  }
  client.stop();
}"""


async def enter(new_page, room: str, user: str | None = "ann", **options: object) -> Page:
    """Open the page of a room as a user, or as an anonymous one; a room that is new is made."""
    if user is None:
        page = await new_page(f"/rooms/{room}/", **options)
    else:
        page = await new_page(f"/login/?next=/rooms/{room}/", **options)
        await page.get_by_label("Username").fill(user)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
    create = page.get_by_role("button", name="Create the room")
    await expect(create.or_(page.locator("[data-status]"))).to_be_visible()
    if await create.is_visible():
        await create.click()
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    return page


async def say(page: Page, text: str) -> None:
    field = page.get_by_label("Message to")
    await field.fill(text)
    await field.press("Enter")


def contents(page: Page) -> Locator:
    return page.locator(".message .content")


async def test_two_people_talk_and_see_each_other(new_page):
    ann = await enter(new_page, "two-people", "ann")
    bob = await enter(new_page, "two-people", "bob")
    await expect(ann.locator("[data-people] li")).to_have_text(["ann (you)", "bob"])
    await say(ann, "hello bob")
    await say(ann, "are you there?")
    await expect(contents(bob)).to_have_text(["hello bob", "are you there?"])
    await say(bob, "yes")
    await expect(contents(ann)).to_have_text(["hello bob", "are you there?", "yes"])
    await expect(ann.locator(".message").nth(1)).to_have_attribute("data-state", "sent")
    await bob.close()
    await expect(ann.locator("[data-people] li")).to_have_text(["ann (you)"])


async def test_what_is_written_while_the_server_is_down_arrives_once_and_in_order(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        ann = await enter(new_page, "restart", "ann", base_url=first.http(""))
        bob = await enter(new_page, "restart", "bob", base_url=first.http(""))
        await say(ann, "before")
        await expect(contents(bob)).to_have_text(["before"])
        await ann.get_by_label("Message to").fill("during")
        first.kill()
        await expect(ann.locator("[data-status]")).to_contain_text("is sent when it is back")
        await ann.get_by_label("Message to").press("Enter")
        await say(ann, "and this")
        await expect(ann.locator(".message[data-state=pending]")).to_have_count(2)
    with ServerProcess(database=database, port=first.port):
        for page in (ann, bob):
            await expect(page.locator("[data-status]")).to_have_text("Connected")
            await expect(contents(page)).to_have_text(["before", "during", "and this"])
        await expect(ann.locator(".message[data-state=pending]")).to_have_count(0)
        await say(bob, "welcome back")
        await expect(contents(ann)).to_have_text(["before", "during", "and this", "welcome back"])


async def test_what_an_anonymous_user_writes_while_the_server_is_down_is_sent_later(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await enter(new_page, "lobby", None, base_url=first.http(""))
        first.kill()
        await expect(page.locator("[data-status]")).to_contain_text("is sent when it is back")
        await say(page, "written offline")
        # A second attempt comes only after one has failed.
        for _ in range(2):
            async with page.expect_websocket():
                pass
        await expect(page.locator(".message[data-state=pending] .content")).to_have_text(["written offline"])
    with ServerProcess(database=database, port=first.port):
        await expect(page.locator(".message[data-state=sent] .content")).to_have_text(["written offline"])
        await expect(page.locator(".message[data-state=failed]")).to_have_count(0)


async def test_an_anonymous_user_sees_that_a_message_without_an_answer_may_be_lost(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await enter(new_page, "lobby", None, base_url=first.http(""))
        await expect(page.locator("[data-people] li")).to_have_count(1)
        first.process.send_signal(signal.SIGSTOP)
        await say(page, "is anybody there?")
        first.kill()
        failed = page.locator(".message[data-state=failed]")
        await expect(failed).to_contain_text("It may not have arrived.")
        await expect(failed).not_to_contain_text("Not sent")


async def test_try_now_ends_the_pause_and_sends_what_waited(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        # The pause is days long: only the button ends it. A client takes the function when it is made.
        page = await enter(new_page, "try-now", base_url=first.http(""), script="Math.random = () => 1e6;")
        first.kill()
        await expect(page.locator("[data-status]")).to_contain_text("is sent when it is back")
        await say(page, "while away")
    with ServerProcess(database=database, port=first.port):
        await page.get_by_role("button", name="Try now").click()
        await expect(page.locator("[data-status]")).to_have_text("Connected")
        await expect(page.locator(".message[data-state=sent] .content")).to_have_text(["while away"])


@pytest.mark.parametrize(
    "text",
    [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "javascript:document.title='owned'",
        "&lt;b&gt; &amp; </p></article>",
    ],
)
async def test_what_looks_like_markup_stays_text(new_page, text):
    page = await enter(new_page, "markup")
    await say(page, text)
    await expect(contents(page).last).to_have_text(text)
    await expect(page.locator(".message").last).to_have_attribute("data-state", "sent")
    assert await page.locator(".message :is(script, img, b)").count() == 0
    assert await page.locator(".message a[href^=javascript]").count() == 0
    assert await page.title() != "owned"


async def test_addresses_become_links_without_a_referrer(new_page):
    page = await enter(new_page, "links")
    await say(page, "see (https://example.com/a?b=1&c=<2>), or http://[::1/ or ftp://example.com.")
    link = page.locator(".message a")
    await expect(link).to_have_count(1)
    await expect(link).to_have_attribute("href", "https://example.com/a?b=1&c=")
    await expect(link).to_have_attribute("rel", re.compile("noopener.*noreferrer"))


async def test_an_anonymous_user_reads_along_and_is_offered_the_login(new_page):
    ann = await enter(new_page, "read-along")
    await say(ann, "welcome")
    anonymous = await enter(new_page, "read-along", user=None)
    await expect(contents(anonymous)).to_have_text(["welcome"])
    await expect(anonymous.get_by_label("Message to")).to_have_count(0)
    await anonymous.get_by_role("main").get_by_role("link", name="Log in").click()
    await anonymous.get_by_label("Username").fill("bob")
    await anonymous.get_by_label("Password").fill(PASSWORD)
    await anonymous.get_by_role("button", name="Log in").click()
    await expect(anonymous.get_by_label("Message to")).to_be_visible()
    assert urlsplit(anonymous.url).path == "/rooms/read-along/"


async def test_earlier_messages_come_when_scrolling_up_and_the_view_stays(new_page):
    page = await enter(new_page, "history")
    await page.evaluate(SAY_MANY, {"room": "history", "count": 120})
    await page.reload()
    await expect(contents(page)).to_have_count(50)
    await expect(contents(page).last).to_have_text("message 120")
    await page.get_by_role("log").focus()
    await page.keyboard.press("Home")
    await expect(contents(page)).to_have_count(100)
    await expect(page.get_by_text("message 71", exact=True)).to_be_in_viewport()
    # Not by the mouse, which would scroll up to the button: that alone shows them, and hides it.
    await page.get_by_role("button", name="Show earlier messages").dispatch_event("click")
    await expect(contents(page)).to_have_count(120)
    await expect(contents(page).first).to_have_text("message 1")
    await expect(page.get_by_role("button", name="Show earlier messages")).to_be_hidden()


async def test_new_messages_are_announced_to_a_reader_of_old_ones_without_moving_the_log(new_page):
    ann = await enter(new_page, "unread", "ann")
    await ann.evaluate(SAY_MANY, {"room": "unread", "count": 60})
    bob = await enter(new_page, "unread", "bob")
    await expect(contents(bob)).to_have_count(50)
    await bob.get_by_role("log").evaluate("log => { log.scrollTop = 300; }")
    before = await bob.get_by_role("log").evaluate("log => log.scrollTop")
    await say(ann, "news")
    button = bob.get_by_role("button", name="1 new message")
    await expect(button).to_be_visible()
    assert await bob.get_by_role("log").evaluate("log => log.scrollTop") == before
    await button.click()
    await expect(contents(bob).last).to_be_in_viewport()
    await expect(button).to_be_hidden()


async def test_another_tab_of_the_same_person_shows_the_message_as_their_own(new_page):
    page = await enter(new_page, "tabs")
    other = await page.context.new_page()
    await other.goto("/rooms/tabs/")
    await expect(other.locator("[data-status]")).to_have_text("Connected")
    await say(page, "from the first tab")
    await expect(other.locator(".message.own .content")).to_have_text(["from the first tab"])
    await expect(other.locator("[data-people] li")).to_have_text(["ann (you)"])


async def test_a_message_that_is_refused_says_why_and_can_be_sent_again(new_page):
    page = await enter(new_page, "refused")
    await page.get_by_label("Message to").evaluate("field => field.removeAttribute('maxlength')")
    await say(page, "x" * 5000)
    failed = page.locator(".message[data-state=failed]")
    await expect(failed).to_contain_text("Not sent.")
    await failed.get_by_role("button", name="Send again").click()
    await expect(failed).to_contain_text("Not sent.")
    await say(page, "short enough")
    await expect(page.locator(".message[data-state=sent] .content")).to_have_text(["short enough"])


async def test_a_room_over_the_quota_of_its_user_is_refused_with_the_reason(new_page, database, complaints):
    complaints.expected.add("Failed to load resource")  # 429
    with ServerProcess(database=database, env={"REALTIME_ROOMS_PER_HOUR": "1"}) as server:
        page = await enter(new_page, "lobby", base_url=server.http(""))
        for room in ("quota-one", "quota-two"):
            await page.goto(f"/rooms/{room}/")
            await page.get_by_role("button", name="Create the room").click()
        await expect(page.get_by_role("alert")).to_contain_text("many rooms within an hour")
        await page.close()  # it would look for the server that is gone


async def test_a_session_that_has_ended_is_said_in_words(new_page, database, complaints):
    complaints.expected.update(complaints.NETWORK)
    with ServerProcess(database=database) as first:
        page = await enter(new_page, "session", base_url=first.http(""))
        await page.context.clear_cookies(name="sessionid")
        first.kill()
        await expect(page.locator("[data-status]")).to_contain_text("is sent when it is back")
    with ServerProcess(database=database, port=first.port):
        await expect(page.locator("[data-status]")).to_contain_text("Your session has ended")


STAFF = """
from realtime.rooms.models import Membership, Role, Room
from django.contrib.auth import get_user_model
room = Room.objects.get(slug={room!r})
bob = get_user_model().objects.get(username="bob")
"""

BAN = "Membership.objects.update_or_create(room=room, user=bob, defaults={'role': Role.BANNED})"
ARCHIVE = "room.is_archived = True; room.save()"
REOPEN = "room.is_archived = False; room.save()"


def manage(database: Path, room: str, code: str) -> None:
    """Run code as staff, in a process of its own that shares the database of the server."""
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{database}"}
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", STAFF.format(room=room) + code]
    subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("code", "locale", "reason"),
    [
        pytest.param(BAN, "en", "You are banned from this room.", id="banned"),
        pytest.param(BAN, "de", "Der Zutritt zu diesem Raum ist gesperrt.", id="banned, in German"),
        pytest.param(ARCHIVE, "en", "This room is archived; it can only be read.", id="archived"),
    ],
)
async def test_who_may_not_write_any_more_is_told_why_at_once(new_page, database, complaints, code, locale, reason):
    complaints.expected.update(complaints.NETWORK)  # 403 for a user who is banned, and a server that stops
    room = f"rights-{locale}-{reason.split()[-1].strip('.')}"
    with ServerProcess(database=database) as server:
        ann = await enter(new_page, room, "ann", base_url=server.http(""))
        page = await enter(new_page, room, "bob", base_url=server.http(""))
        field = page.locator("[name=content]")
        await page.set_extra_http_headers({"accept-language": locale})
        manage(database, room, code)
        await expect(page.locator("[data-off]")).to_contain_text(reason)
        await expect(field).to_be_disabled()
        await expect(page.locator("[data-composer] button")).to_be_disabled()
        if code == ARCHIVE:
            manage(database, room, REOPEN)
            await expect(field).to_be_enabled()
            await expect(page.locator("[data-off]")).to_be_hidden()
        await ann.close()
        await page.close()


async def test_an_anonymous_user_keeps_the_name_after_a_reload_and_in_another_tab(new_page):
    page = await enter(new_page, "lobby", None)
    own = page.locator("[data-people] li").filter(has_text="(you)")
    await expect(own).to_have_text(re.compile(r"anonymous-[0-9a-f]{8} \(you\)"))
    name = await own.inner_text()
    await page.reload()
    await expect(page.locator("[data-people] li").filter(has_text="(you)")).to_have_text([name])
    other = await page.context.new_page()
    await other.goto("/rooms/lobby/")
    await expect(other.locator("[data-people] li").filter(has_text="(you)")).to_have_text([name])
    second = await enter(new_page, "lobby", None)
    await expect(second.locator("[data-people] li").filter(has_text="(you)")).not_to_have_text([name])


async def test_earlier_messages_are_offered_only_where_there_are_some(new_page):
    page = await enter(new_page, "exactly-fifty")
    await page.evaluate(SAY_MANY, {"room": "exactly-fifty", "count": 100})
    await page.reload()
    button = page.get_by_role("button", name="Show earlier messages")
    await expect(button).to_be_visible()
    await button.dispatch_event("click")
    await expect(contents(page)).to_have_count(100)
    await expect(button).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
async def test_long_words_and_right_to_left_text_fit_the_screen(new_page, width, scheme):
    options = {"viewport": {"width": width, "height": 740}, "color_scheme": scheme}
    page = await enter(new_page, f"fits-{width}-{scheme}", **options)
    for text in ("x" * 500, "https://example.com/" + "y" * 500, "שלום, hello"):
        await say(page, text)
    await expect(page.locator(".message[data-state=sent]")).to_have_count(3)
    log = page.get_by_role("log")
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await log.evaluate("log => log.scrollWidth <= log.clientWidth")
    direction = await contents(page).last.evaluate("text => getComputedStyle(text).direction")
    assert direction == "rtl"


async def test_the_whole_page_weighs_under_eighty_kibibytes(new_page):
    page = await enter(new_page, "weight")
    sizes = await page.evaluate(
        """() => performance.getEntries()
          .filter((entry) => "transferSize" in entry)
          .map((entry) => entry.encodedBodySize)"""
    )
    assert len(sizes) > 5
    assert sum(sizes) < PAGE_WEIGHT
