"""The pages of the site against the rules of axe-core, in both themes, on a phone; and from right to left."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.template.loader import render_to_string
from playwright.async_api import Page

from realtime.engine.testing import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = {"width": 390, "height": 844}

ANONYMOUS = ["/login/", "/register/", "/password/reset/", "/password/reset/sent/", "/password/reset/x/y/"]
#: What the server says where something is wrong, and the front page of a project without the console.
RARE = ["404.html", "403.html", "403_csrf.html", "500.html", "realtime/front.html", "realtime/unavailable.html"]
SIGNED_IN = ["/account/", "/account/password/"]

#: How far the page, or an element that does not scroll, goes beyond the screen.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def log_in(page: Page, path: str) -> None:
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password").fill("correct horse battery staple")
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"**{path}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ANONYMOUS)
async def test_a_page_for_everybody_has_no_violation(new_page, violations, path, scheme):
    page = await new_page(path, color_scheme=scheme, reduced_motion="reduce", viewport=PHONE)
    assert await violations(page) == []
    assert await page.evaluate(OVERFLOW) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", SIGNED_IN)
async def test_a_page_of_an_account_has_no_violation(new_page, violations, path, scheme):
    page = await new_page(f"/login/?next={path}", color_scheme=scheme, reduced_motion="reduce", viewport=PHONE)
    await log_in(page, path)
    assert await violations(page) == []
    assert await page.evaluate(OVERFLOW) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("template", RARE)
async def test_a_page_that_is_rarely_seen_has_no_violation(new_page, violations, template, scheme):
    page = await new_page("/login/", color_scheme=scheme, reduced_motion="reduce", viewport=PHONE)
    await page.route("**/rare/", lambda route: route.fulfill(body=render_to_string(template), content_type="text/html"))
    await page.goto("/rare/")
    assert await violations(page) == []
    assert await page.evaluate(OVERFLOW) == 0


#: Of apps that a project may have removed.
FURTHER = [("realtime.rooms", "/rooms/"), ("realtime.console", "/api/docs/")]
MIRRORED = ["/", "/login/", "/register/", *(path for app, path in FURTHER if apps.is_installed(app))]


@pytest.mark.parametrize("path", MIRRORED)
async def test_a_page_fits_a_phone_from_right_to_left(new_page, path):
    page = await new_page(path, viewport=PHONE)
    await page.evaluate("document.documentElement.dir = 'rtl'")
    assert await page.evaluate(OVERFLOW) == 0
    brand, screen = await page.locator(".brand").bounding_box(), PHONE["width"]
    assert brand["x"] + brand["width"] > screen / 2
    assert await page.evaluate("getComputedStyle(document.querySelector('main')).direction") == "rtl"


async def test_the_switch_at_the_foot_changes_the_language(new_page):
    page = await new_page("/login/?next=/account/")
    await page.get_by_role("button", name="Deutsch").click()
    await page.get_by_role("button", name="Anmelden").wait_for()
    assert page.url.endswith("/login/?next=/account/")
    assert await page.evaluate("document.documentElement.lang") == "de"


async def test_a_page_comes_in_the_language_of_the_browser(new_page, server: ServerProcess):
    page = await new_page("/login/", locale="de-DE")
    await page.get_by_role("button", name="Anmelden").wait_for()
