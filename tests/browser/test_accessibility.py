"""Every page against the rules of axe-core, which comes from npm at test time."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = "axe-core@4.14.1"

#: WCAG 2.2 level AA, and what axe's authors recommend beyond it.
RUN = """async () => {
  const { violations } = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  });
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)}`));
}"""


@pytest.fixture
def axe(npm_package) -> str:
    """The source of axe-core."""
    return (npm_package(AXE) / "axe.min.js").read_text()


async def violations(page: Page, axe: str) -> list[str]:
    await page.evaluate(axe)
    return await page.evaluate(RUN)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/rooms/", "/api/docs/", "/login/"])
async def test_a_page_has_no_violation(new_page, axe, path, scheme):
    page = await new_page(path, color_scheme=scheme, reduced_motion="reduce")
    assert await violations(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_console_in_use_has_no_violation(new_page, axe, scheme):
    page = await new_page("/", color_scheme=scheme, viewport={"width": 360, "height": 740})
    console = page.locator("#ws .console")
    await console.get_by_role("button", name="Connect", exact=True).click()
    await expect(console.get_by_role("status")).to_contain_text("Connected")
    await console.get_by_role("button", name="Send").click()
    await expect(console.locator(".frame[data-direction=in]")).to_have_count(1)
    await console.get_by_role("button", name="Disconnect").click()
    await expect(console.get_by_role("status")).to_contain_text("Closed with")
    assert await violations(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_conversation_has_no_violation(new_page, axe, scheme):
    page = await new_page("/login/?next=/rooms/accessible/", color_scheme=scheme)
    await page.get_by_label("User name").fill("ann")
    await page.get_by_label("Password").fill("correct horse battery staple")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    await page.get_by_label("Message to").fill("see https://example.com/")
    await page.get_by_label("Message to").press("Enter")
    await expect(page.locator(".message[data-state=sent]").last).to_be_visible()
    assert await violations(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_the_live_page_of_the_admin_has_no_violation(new_page, axe, scheme, width):
    page = await new_page("/login/?next=/admin/live/", color_scheme=scheme, viewport={"width": width, "height": 740})
    await page.get_by_label("User name").fill("root")
    await page.get_by_label("Password").fill("correct horse battery staple")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("status")).to_have_text("Connected.")
    await expect(page.locator("[data-connections] tr").filter(has_text="root")).to_be_visible()
    assert await violations(page, axe) == []


async def test_the_whole_chat_is_done_by_keyboard(new_page):
    page = await new_page("/login/?next=/rooms/keyboard/")
    await expect(page.get_by_label("User name")).to_be_focused()
    await page.keyboard.type("ann")
    await page.keyboard.press("Tab")
    await page.keyboard.type("correct horse battery staple")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-status]")).to_have_text("Connected")
    while not await page.evaluate("document.activeElement.name === 'content'"):
        await page.keyboard.press("Tab")
    await page.keyboard.type("typed")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message[data-state=sent] .content").last).to_have_text("typed")
    await expect(page.get_by_label("Message to")).to_be_focused()
