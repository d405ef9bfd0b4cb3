"""The pages of the rooms against the rules of axe-core, and without a mouse."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_list_has_no_violation(new_page, violations, scheme):
    page = await new_page("/rooms/", color_scheme=scheme, reduced_motion="reduce")
    assert await violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_room_that_does_not_exist_has_no_violation(new_page, violations, scheme):
    path = "/rooms/not-there-yet/"
    page = await new_page(f"/login/?next={path}", color_scheme=scheme, viewport={"width": 390, "height": 844})
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password").fill("correct horse battery staple")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("button", name="Create the room")).to_be_visible()
    assert await violations(page) == []


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
async def test_a_room_fits_a_phone_in_both_directions(new_page, violations, direction):
    page = await new_page("/rooms/lobby/", viewport={"width": 390, "height": 844})
    await page.evaluate("direction => document.documentElement.dir = direction", direction)
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    box = await page.locator("[data-composer] button").bounding_box()
    assert (box["x"] < 195) == (direction == "rtl")
    assert await violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_conversation_has_no_violation(new_page, make_room, violations, scheme):
    page = await new_page("/login/?next=/rooms/accessible/", color_scheme=scheme)
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password").fill("correct horse battery staple")
    await page.get_by_role("button", name="Log in").click()
    await make_room(page)
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    await page.get_by_label("Message to").fill("see https://example.com/")
    await page.get_by_label("Message to").press("Enter")
    await expect(page.locator(".message[data-state=sent]").last).to_be_visible()
    assert await violations(page) == []


async def test_the_whole_chat_is_done_by_keyboard(new_page, make_room):
    page = await new_page("/login/?next=/rooms/keyboard/")
    await expect(page.get_by_label("Username")).to_be_focused()
    await page.keyboard.type("ann")
    await page.keyboard.press("Tab")
    await page.keyboard.type("correct horse battery staple")
    await page.keyboard.press("Enter")
    await make_room(page)
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    while not await page.evaluate("document.activeElement.name === 'content'"):
        await page.keyboard.press("Tab")
    await page.keyboard.type("typed")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message[data-state=sent] .content").last).to_have_text("typed")
    await expect(page.get_by_label("Message to")).to_be_focused()
