"""The live page of the admin in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"


async def log_in(page: Page, user: str) -> None:
    await page.get_by_label("User name").fill(user)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def open_live(new_page, **options: object) -> Page:
    page = await new_page("/login/?next=/admin/live/", **options)
    await log_in(page, "root")
    await expect(page.get_by_role("status")).to_have_text("Connected.")
    return page


async def enter_room(new_page, room: str, user: str) -> Page:
    page = await new_page(f"/login/?next=/rooms/{room}/")
    await log_in(page, user)
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    return page


async def test_staff_see_who_is_connected_and_end_a_connection(new_page):
    live = await open_live(new_page)
    bob = await enter_room(new_page, "watched", "bob")
    row = live.locator("[data-connections] tr").filter(has_text="bob")
    await expect(row).to_contain_text("/ws/rooms")
    await expect(live.locator("[data-rooms] tr").filter(has_text="watched")).to_be_visible()
    await row.get_by_role("button", name="Disconnect bob").click()
    await expect(bob.locator("[data-status]")).to_have_text("disconnected by staff")
    await expect(row).to_have_count(0)


async def test_an_announcement_reaches_the_room(new_page):
    live = await open_live(new_page)
    bob = await enter_room(new_page, "announced", "bob")
    await live.get_by_label("Room", exact=True).fill("announced")
    await live.get_by_label("Announcement").fill("Maintenance at noon")
    await live.get_by_role("button", name="Announce").click()
    await expect(bob.locator(".message .content")).to_have_text(["Maintenance at noon"])
    await expect(live.get_by_role("status")).to_contain_text("Announced in announced")
    await live.get_by_label("Room", exact=True).fill("nowhere")
    await live.get_by_label("Announcement").fill("hello")
    await live.get_by_role("button", name="Announce").click()
    await expect(live.get_by_role("status")).to_contain_text("no room 'nowhere'")


async def test_the_charts_go_on_every_second_and_long_names_fit_a_phone(new_page):
    await enter_room(new_page, "a-room-with-a-name-as-long-as-names-may-be-" + "x" * 20, "bob")
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


async def test_who_is_not_staff_does_not_see_the_page(new_page):
    page = await new_page("/login/?next=/admin/live/")
    await log_in(page, "bob")
    await expect(page).to_have_url(re.compile("/admin/login/"))
