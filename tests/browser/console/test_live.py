"""The live page of the admin in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"


async def log_in(page: Page, user: str) -> None:
    await page.get_by_label("Username").fill(user)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def test_a_user_without_staff_status_does_not_see_the_page(new_page):
    page = await new_page("/login/?next=/admin/live/")
    await log_in(page, "bob")
    await expect(page).to_have_url(re.compile("/admin/login/"))
