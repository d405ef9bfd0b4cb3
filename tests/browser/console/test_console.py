"""The page at / in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"


async def console_of(page: Page, slug: str) -> Locator:
    """Open an endpoint and return its first console."""
    endpoint = page.locator(f"#{slug}")
    if await endpoint.get_attribute("open") is None:
        await endpoint.locator("summary").click()
    return endpoint.locator(".console").first


async def connect(console: Locator) -> None:
    await console.get_by_role("button", name="Connect", exact=True).click()
    await expect(console.get_by_role("status")).to_contain_text("Connected")


async def sign_in(page: Page, user: str = "ann", password: str = PASSWORD) -> None:
    await page.get_by_label("Username").fill(user)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Get a token").click()


async def test_text_and_binary_frames_are_shown_in_both_directions(new_page):
    console = await console_of(await new_page("/"), "ws")
    await connect(console)
    await console.get_by_label("Message", exact=True).fill("grüße")
    await console.get_by_role("button", name="Send").click()
    received = console.locator(".frame[data-direction=in]")
    await expect(received).to_contain_text(["grüße"])
    await expect(received.first).to_contain_text("7 B")
    await console.get_by_label("Kind of message").select_option("binary")
    await console.get_by_label("Message", exact=True).fill("00 ff 7A")
    await console.get_by_role("button", name="Send").click()
    await expect(received).to_contain_text(["grüße", "00 ff 7a"])
    await expect(received.last).to_contain_text("binary")
    await expect(console.locator(".frame[data-direction=out] pre")).to_have_text(["grüße", "00 ff 7a"])


async def test_enter_sends_and_shift_enter_makes_a_new_line(new_page):
    console = await console_of(await new_page("/"), "ws")
    await connect(console)
    message = console.get_by_label("Message", exact=True)
    await message.fill("one")
    await message.press("Shift+Enter")
    await message.press_sequentially("two")
    await message.press("Enter")
    await expect(console.locator(".frame[data-direction=in] pre")).to_have_text(["one\ntwo"])


async def test_half_a_byte_of_hex_is_explained_and_not_sent(new_page):
    console = await console_of(await new_page("/"), "ws")
    await connect(console)
    await console.get_by_label("Kind of message").select_option("binary")
    await console.get_by_label("Message", exact=True).fill("00 f")
    await console.get_by_role("button", name="Send").click()
    await expect(console.get_by_role("alert")).to_contain_text("Half a byte")
    await expect(console.locator(".frame[data-direction=out]")).to_have_count(0)


async def test_the_end_of_a_connection_is_shown_with_its_meaning(new_page):
    console = await console_of(await new_page("/"), "ws")
    await connect(console)
    await console.get_by_role("button", name="Disconnect").click()
    await expect(console.get_by_role("status")).to_contain_text("Closed with 1000 NORMAL")
    await expect(console.locator(".frame").last).to_contain_text("The conversation is over.")
    await expect(console.get_by_role("button", name="Connect", exact=True)).to_be_enabled()


async def test_the_first_offered_subprotocol_that_the_policy_lists_is_shown(new_page):
    console = await console_of(await new_page("/"), "ws-policy")
    await console.get_by_label("Subprotocols").fill("unknown, graphql-transport-ws, graphql-ws")
    await connect(console)
    await expect(console.get_by_role("status")).to_contain_text("subprotocol graphql-transport-ws")


@pytest.mark.parametrize(
    ("slug", "preset", "explanation"),
    [
        ("ws-connect", "user_id is no number", "user_id (integer), name (string) (400)"),
        ("ws-connect", "Without name", "user_id (integer), name (string) (400)"),
        ("ws-auth", "Without a token", "a token, a ticket or a session (401)"),
        ("ws-auth", "With a forged ticket", "a token, a ticket or a session (401)"),
        ("ws-policy", "Unknown subprotocol", "one of graphql-ws, graphql-transport-ws"),
    ],
)
async def test_a_refused_handshake_is_explained_by_what_the_endpoint_asks_for(
    new_page, complaints, slug, preset, explanation
):
    complaints.expected.update(complaints.NETWORK)
    console = await console_of(await new_page("/"), slug)
    await console.get_by_role("button", name=preset).click()
    await expect(console.get_by_role("status")).to_contain_text("Refused")
    await expect(console.locator(".frame").last).to_contain_text(explanation)
    await expect(console.locator(".frame").last).to_contain_text("network panel")
    await expect(console.get_by_role("button", name="Connect", exact=True)).to_be_enabled()


async def test_a_path_without_an_endpoint_is_explained_too(new_page, complaints):
    complaints.expected.update(complaints.NETWORK)
    page = await new_page("/")
    console = await console_of(page, "ws")
    await console.get_by_label("Address").fill(await address_of(page, "/ws/nowhere"))
    await console.get_by_role("button", name="Connect", exact=True).click()
    await expect(console.locator(".frame").last).to_contain_text("network panel")


@pytest.mark.parametrize(
    ("slug", "preset", "state"),
    [
        ("ws-policy", "One byte too large", "Closed with 1009 MESSAGE_TOO_BIG"),
        ("ws-chat", "420 messages at once", "Closed with 1008 POLICY_VIOLATION"),
        ("ws-policy", "Subprotocols in another order", "subprotocol graphql-transport-ws"),
    ],
)
async def test_a_preset_shows_a_policy_at_work(new_page, slug, preset, state):
    console = await console_of(await new_page("/"), slug)
    await console.get_by_role("button", name=preset, exact=True).click()
    await expect(console.get_by_role("status")).to_contain_text(state)


async def test_an_empty_message_and_the_largest_one_come_back(new_page):
    console = await console_of(await new_page("/"), "ws-policy")
    await console.get_by_role("button", name="Empty message").click()
    received = console.locator(".frame[data-direction=in]")
    await expect(received.first).to_contain_text("0 B")
    await console.get_by_role("button", name="Largest message").click()
    await expect(received.last).to_contain_text("1.0 MiB")


async def test_a_token_becomes_a_ticket_that_opens_the_authenticated_endpoint(new_page):
    page = await new_page("/")
    await sign_in(page)
    await expect(page.locator("[data-account-status]")).to_contain_text("Token valid until")
    console = await console_of(page, "ws-auth")
    await connect(console)
    await expect(console.locator(".frame").first).not_to_contain_text(re.compile(r"ticket=[\w-]"))


async def test_a_wrong_password_is_answered_in_words(new_page, complaints):
    complaints.expected.add("401 (Unauthorized)")
    page = await new_page("/")
    await sign_in(page, password="wrong")
    await expect(page.locator("[data-account-status]")).to_contain_text("No active account")
    await expect(page.locator("[data-account-status]")).to_have_class(re.compile("bad"))


async def test_two_clients_of_the_chat_see_each_other_on_one_page(new_page):
    page = await new_page("/")
    first = await console_of(page, "ws-chat")
    await first.get_by_role("button", name="Add a second client").click()
    second = page.get_by_role("region", name="Console of /ws/chat, client 2")
    await connect(first)
    await connect(second)
    await second.get_by_role("button", name="Send").click()
    await expect(first.locator(".frame[data-direction=in] pre").last).to_have_text(re.compile(r"<User#\d+>: hello"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
async def test_nothing_is_wider_than_the_screen(new_page, width, scheme):
    page = await new_page("/", viewport={"width": width, "height": 800}, color_scheme=scheme)
    for slug in await page.locator("details.endpoint").evaluate_all("all => all.map(one => one.id)"):
        await expect(await console_of(page, slug)).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_a_frame_cannot_become_markup(new_page):
    page = await new_page("/")
    console = await console_of(page, "ws")
    await connect(console)
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    await console.get_by_label("Message", exact=True).fill(attack)
    await console.get_by_role("button", name="Send").click()
    await expect(console.locator(".frame[data-direction=in] pre")).to_have_text([attack])
    assert await page.locator(".frame img, .frame script").count() == 0
    assert await page.title() != "owned"


async def address_of(page: Page, path: str) -> str:
    return await page.evaluate("path => new URL(path, location.href).href.replace(/^http/, 'ws')", path)
