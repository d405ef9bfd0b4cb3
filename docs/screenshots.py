"""Makes docs/images/*.png from the running project: ``python docs/screenshots.py``. Needs Chromium."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The import needs the project's root on the path.
from realtime.engine.testing import ServerProcess, demo_database  # noqa: E402

IMAGES = ROOT / "docs" / "images"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu"]
CONSOLE = {"width": 1120, "height": 870}
DESKTOP = {"width": 1120, "height": 800}
ROOM = {"width": 960, "height": 560}
PHONE = {"width": 360, "height": 740}
PASSWORD = "only in the database of these pictures"  # noqa: S105  a new database for each run


async def show_console(page: Page) -> None:
    """Leave the first console connected, with frames of both kinds."""
    console = page.locator(".console").first
    await console.get_by_role("button", name="Connect", exact=True).click()
    await page.locator("[data-phase=open]").wait_for()
    for kind, message in (
        ("text", "hello"),
        ("binary", "de ad be ef"),
        ("text", '{"type": "Chat", "content": "grüße"}'),
    ):
        await console.get_by_label("Kind of message").select_option(kind)
        await console.get_by_label("Message", exact=True).fill(message)
        await console.get_by_role("button", name="Send").click()
    await console.locator(".frame[data-direction=in]").nth(2).wait_for()
    await page.locator("h1").click()
    await page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")


async def shoot_consoles(browser: Browser, server: ServerProcess, name: str, scheme: str, size: dict[str, int]) -> None:
    """Save one picture of the page at /."""
    page = await new_page(browser, server, scheme, size)
    await page.goto("/")
    await show_console(page)
    await page.screenshot(path=IMAGES / f"{name}.png")
    await page.context.close()


async def shoot_room(browser: Browser, server: ServerProcess) -> None:
    """Save a conversation of two people, as one sees it on a desktop and the other on a phone."""
    ann = await enter(browser, server, "ann", "light", ROOM)
    admin = await enter(browser, server, "admin", "dark", PHONE)
    for page, text in (
        (admin, "Deploying in five minutes. The server drains, you will not notice."),
        (ann, "Go ahead."),
        (admin, "Done: https://example.com/releases/42"),
        (admin, "Did anybody lose a message?"),
        (ann, "Not one. The page came back by itself."),
    ):
        await page.get_by_label("Message to").fill(text)
        await page.get_by_label("Message to").press("Enter")
        for reader in (ann, admin):
            await reader.locator(".message").get_by_text(text.split(" http")[0][:20]).wait_for()
    await ann.screenshot(path=IMAGES / "room-light.png")
    await admin.screenshot(path=IMAGES / "room-phone.png")
    for page in (ann, admin):
        await page.context.close()


async def shoot_admin(browser: Browser, server: ServerProcess) -> None:
    """Save the live connections and the lobby as the admin shows them, while somebody is there."""
    ann = await enter(browser, server, "ann", "light", ROOM)
    admin = await enter(browser, server, "admin", "light", DESKTOP)
    staff = await admin.context.new_page()
    await staff.goto("/admin/connections/liveconnection/")
    while await staff.locator("#result_list tbody tr").count() < 2:  # reported once a second
        await staff.reload()
    await staff.screenshot(path=IMAGES / "admin-connections.png")
    await staff.goto("/admin/rooms/room/")
    await staff.get_by_role("link", name="lobby").click()
    await staff.locator(".field-who_is_online").scroll_into_view_if_needed()
    await staff.screenshot(path=IMAGES / "admin-room.png")
    for page in (ann, admin):
        await page.context.close()


async def enter(browser: Browser, server: ServerProcess, user: str, scheme: str, size: dict[str, int]) -> Page:
    """Open the lobby as a user."""
    page = await new_page(browser, server, scheme, size)
    await page.goto("/login/?next=/rooms/lobby/")
    await page.get_by_label("Username").fill(user)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_text("Connected").wait_for()
    return page


async def new_page(browser: Browser, server: ServerProcess, scheme: str, size: dict[str, int]) -> Page:
    """Open a page with cookies of its own."""
    options: dict[str, Any] = {"base_url": server.http(""), "color_scheme": scheme, "viewport": size}
    return await (await browser.new_context(**options)).new_page()


async def main() -> None:
    """Make every picture."""
    IMAGES.mkdir(exist_ok=True)
    database = Path(tempfile.mkdtemp()) / "db.sqlite3"
    shutil.copy(demo_database(PASSWORD), database)
    with ServerProcess(database=database) as server:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            await shoot_consoles(chromium, server, "consoles-light", "light", CONSOLE)
            await shoot_consoles(chromium, server, "consoles-dark", "dark", CONSOLE)
            await shoot_consoles(chromium, server, "consoles-phone", "light", PHONE)
            await shoot_room(chromium, server)
            await shoot_admin(chromium, server)
            await chromium.close()
    shutil.rmtree(database.parent)


if __name__ == "__main__":
    asyncio.run(main())
