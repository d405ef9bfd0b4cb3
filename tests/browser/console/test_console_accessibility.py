"""The pages of the console against the rules of axe-core."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/api/docs/"])
async def test_a_page_has_no_violation(new_page, violations, path, scheme):
    page = await new_page(path, color_scheme=scheme, reduced_motion="reduce")
    assert await violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_console_in_use_has_no_violation(new_page, violations, scheme):
    page = await new_page("/", color_scheme=scheme, viewport={"width": 360, "height": 740})
    console = page.locator("#ws .console")
    await console.get_by_role("button", name="Connect", exact=True).click()
    await expect(console.get_by_role("status")).to_contain_text("Connected")
    await console.get_by_role("button", name="Send").click()
    await expect(console.locator(".frame[data-direction=in]")).to_have_count(1)
    await console.get_by_role("button", name="Disconnect").click()
    await expect(console.get_by_role("status")).to_contain_text("Closed with")
    assert await violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_the_live_page_of_the_admin_has_no_violation(new_page, violations, scheme, width):
    page = await new_page("/login/?next=/admin/live/", color_scheme=scheme, viewport={"width": width, "height": 740})
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill("correct horse battery staple")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("status")).to_have_text("Connected.")
    await expect(page.locator("[data-connections] tr").filter(has_text="admin")).to_be_visible()
    assert await violations(page) == []
