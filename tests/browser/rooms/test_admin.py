"""The admin in a browser, with somebody in a room to see what reaches the members."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
import websockets
from playwright.async_api import Page, expect

from realtime.engine.testing import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"
EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">x</a>'


@pytest_asyncio.fixture(loop_scope="session")
async def admin(new_page: Callable[..., Awaitable[Page]]) -> AsyncIterator[Page]:
    """A page of the admin, with admin logged in. A dialog is a script that has run."""
    page = await new_page("/admin/")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Site administration")).to_be_visible()
    yield page
    assert dialogs == []


async def act(page: Page, path: str, row: str, action: str) -> None:
    """Perform an action of a list on the row that holds a text."""
    await page.goto(path)
    await page.locator("tr", has_text=row).locator("input.action-select").check()
    await page.get_by_label("Action:").select_option(label=action)
    await page.get_by_role("button", name="Go").click()


async def until(client: websockets.ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next message of a type."""
    while True:
        message: dict[str, Any] = json.loads(await client.recv())
        if message["type"] == kind:
            return message


async def test_what_staff_do_reaches_the_members(admin: Page, server: ServerProcess) -> None:
    await admin.goto("/admin/rooms/room/add/")
    await admin.get_by_label("Slug").fill("den")
    await admin.get_by_label("Anonymous may post").check()
    await admin.get_by_role("button", name="Save", exact=True).click()
    async with websockets.connect(server.ws("/ws/rooms/den")) as client:
        anonymous = (await until(client, "Joined"))["members"][0]
        await client.send(json.dumps({"type": "Chat", "content": EVIL}))
        await until(client, "Ack")

        await admin.goto("/admin/rooms/room/")
        row = admin.locator("tr", has_text="den")
        await expect(row.locator(".field-message_count")).to_have_text("1")
        await expect(row.locator(".field-online")).to_have_text("1")
        await row.get_by_role("link", name="den").click()
        await expect(admin.locator(".field-who_is_online")).to_contain_text(anonymous)

        await act(admin, "/admin/rooms/roommessage/", "<script>alert(1)", "Hide from the members")
        assert (await until(client, "Hidden"))["seq"] == 1

        await act(admin, "/admin/rooms/room/", "den", "Announce something to the members")
        await admin.get_by_label("Text").fill("Tonight at ten")
        await admin.get_by_role("button", name="Send").click()
        announced = await until(client, "Chat")
        assert (announced["user"], announced["content"]) == ("admin", "Tonight at ten")

        await admin.goto("/admin/connections/liveconnection/")
        while await admin.locator("tr", has_text="/ws/rooms/den").count() == 0:
            await admin.reload()  # a connection is reported within a second
        await act(admin, "/admin/connections/liveconnection/", "/ws/rooms/den", "Disconnect (3003)")
        await asyncio.wait_for(client.wait_closed(), 30)
        assert (client.close_code, client.close_reason) == (3003, "disconnected by staff")
