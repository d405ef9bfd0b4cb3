"""The account pages in a real browser: from the registration to the end of every connection."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "a long way to Tipperary"

#: Opens a socket, and keeps how it ends for ``HOW_IT_ENDED``.
OPEN_SOCKET = """() => new Promise((resolve) => {
  const socket = new WebSocket("/ws/auth");
  window.ended = new Promise((end) => { socket.onclose = ({ code, reason }) => end([code, reason]); });
  socket.onopen = resolve;
})"""
HOW_IT_ENDED = "() => window.ended"


async def register(page: Page, user: str) -> None:
    await page.get_by_label("Username").fill(user)
    await page.get_by_label("Email address").fill(f"{user}@example.com")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password confirmation").fill(PASSWORD)
    await page.get_by_role("button", name="Create the account").click()


async def log_in(page: Page, user: str) -> None:
    await page.get_by_label("Username").fill(user)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def test_a_new_user_opens_a_room_sees_it_in_the_account_and_logs_out_everywhere(new_page):
    page = await new_page("/register/")
    await register(page, "newcomer")
    await expect(page.get_by_role("heading", name="newcomer")).to_be_visible()
    await page.get_by_role("button", name="Log out", exact=True).click()

    room = await new_page("/login/?next=/rooms/lobby/")
    await log_in(room, "newcomer")
    await expect(room.locator("[data-status]")).to_have_text("Connected")

    account = await room.context.new_page()
    await account.goto("/account/")
    connections = account.get_by_role("table")
    # A connection is listed within a second of its start.
    while not await connections.get_by_text("/ws/rooms").count():
        await account.goto("/account/")
    await account.evaluate(OPEN_SOCKET)

    elsewhere = await new_page("/login/?next=/account/")
    await log_in(elsewhere, "newcomer")
    await elsewhere.get_by_role("button", name="Log out everywhere").click()
    await expect(elsewhere).to_have_url(re.compile("/login/$"))
    await expect(elsewhere.get_by_role("status")).to_have_text("You are logged out everywhere.")

    code, reason = await account.evaluate(HOW_IT_ENDED)
    assert code == 3003
    await expect(room.locator("[data-status]")).to_have_text(reason)
    await account.goto("/account/")
    await expect(account).to_have_url(re.compile(r"/login/\?next=/account/$"))


async def test_registration_says_what_is_wrong_beside_the_field(new_page):
    page = await new_page("/register/")
    await register(page, "ann")
    name = page.get_by_label("Username")
    await expect(name).to_have_attribute("aria-invalid", "true")
    described = (await name.get_attribute("aria-describedby") or "").split()
    texts = [await page.locator(f"#{part}").inner_text() for part in described]
    assert any("already exists" in text for text in texts)
