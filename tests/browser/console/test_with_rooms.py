"""The console with the rooms: their messages at ``/``, and the live page of the admin."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"


async def log_in(page: Page, user: str) -> None:
    await page.get_by_label("Username").fill(user)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def open_live(new_page, **options: object) -> Page:
    page = await new_page("/login/?next=/admin/live/", **options)
    await log_in(page, "admin")
    await expect(page.get_by_role("status")).to_have_text("Connected.")
    return page


async def enter_room(new_page, make_room, room: str, user: str) -> Page:
    page = await new_page(f"/login/?next=/rooms/{room}/")
    await log_in(page, user)
    await make_room(page)
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    return page


async def test_staff_see_who_is_connected_and_end_a_connection(new_page, make_room):
    live = await open_live(new_page)
    bob = await enter_room(new_page, make_room, "watched", "bob")
    row = live.locator("[data-connections] tr").filter(has_text="bob")
    await expect(row).to_contain_text("/ws/rooms")
    await expect(live.locator("[data-rooms] tr").filter(has_text="watched")).to_be_visible()
    await row.get_by_role("button", name="Disconnect bob").click()
    await expect(bob.locator("[data-status]")).to_have_text("disconnected by staff")
    await expect(bob.locator("[data-off]")).to_contain_text("disconnected by staff")
    await expect(bob.locator("[name=content]")).to_be_disabled()
    await expect(row).to_have_count(0)


async def test_an_announcement_reaches_the_room(new_page, make_room):
    live = await open_live(new_page)
    bob = await enter_room(new_page, make_room, "announced", "bob")
    await live.get_by_label("Room", exact=True).fill("announced")
    await live.get_by_label("Announcement").fill("Maintenance at noon")
    await live.get_by_role("button", name="Announce").click()
    await expect(bob.locator(".message .content")).to_have_text(["Maintenance at noon"])
    await expect(live.get_by_role("status")).to_have_text("Announced.")
    await live.get_by_label("Room", exact=True).fill("nowhere")
    await live.get_by_label("Announcement").fill("hello")
    await live.get_by_role("button", name="Announce").click()
    await expect(live.get_by_role("status")).to_contain_text("no room of this name")


async def test_the_charts_go_on_every_second_and_long_names_fit_a_phone(new_page, make_room):
    await enter_room(new_page, make_room, "a-room-with-a-name-as-long-as-names-may-be-" + "x" * 20, "bob")
    live = await open_live(new_page, viewport={"width": 360, "height": 740})
    await expect(live.locator("[data-rooms]")).to_contain_text("xxxx")
    await live.wait_for_function(
        "() => document.querySelector('[data-chart=connections] polyline').points.numberOfItems >= 3"
    )
    wide = await live.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > 361)
          .map((one) => one.tagName + "." + one.className).slice(0, 5)"""
    )
    assert await live.evaluate("document.documentElement.scrollWidth") == 360, wide


@pytest_asyncio.fixture(loop_scope="session")
async def console(new_page) -> Locator:
    """The console of the rooms, on the page at ``/``."""
    page = await new_page("/")
    await page.locator("#ws-rooms summary").click()
    return page.locator("#ws-rooms .console").first


async def test_a_json_endpoint_offers_an_example_of_each_message(console):
    await console.get_by_role("button", name="Ping").click()
    await expect(console.locator(".frame[data-direction=in] pre")).to_have_text(['{"type":"Pong"}'])
    await console.get_by_role("button", name="Unknown type").click()
    await expect(console.locator(".frame[data-direction=in] pre").last).to_contain_text("invalid_message")
    await expect(console.get_by_role("status")).to_contain_text("Connected")


async def test_a_binary_message_on_a_json_endpoint_shows_1003(console):
    await console.get_by_role("button", name="Binary", exact=True).click()
    await expect(console.get_by_role("status")).to_contain_text("Closed with 1003 UNSUPPORTED_DATA")
