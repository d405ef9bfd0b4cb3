"""Makes docs/images/*.png from the running project: ``python docs/screenshots.py``. Needs Chromium."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from realtime.testing import ServerProcess  # noqa: E402  the project's root has to be on the path

IMAGES = ROOT / "docs" / "images"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu"]
DESKTOP = {"width": 1120, "height": 800}
PHONE = {"width": 360, "height": 740}


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


async def shoot(browser: Browser, server: ServerProcess, name: str, scheme: str, viewport: dict[str, int]) -> None:
    """Save one picture of the page at /."""
    context = await browser.new_context(base_url=server.http(""), color_scheme=scheme, viewport=viewport)  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto("/")
    await show_console(page)
    await page.screenshot(path=IMAGES / f"{name}.png")
    await context.close()


async def main() -> None:
    """Make every picture."""
    IMAGES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium")
    with ServerProcess() as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            await shoot(browser, server, "consoles-light", "light", DESKTOP)
            await shoot(browser, server, "consoles-dark", "dark", DESKTOP)
            await shoot(browser, server, "consoles-phone", "light", PHONE)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
