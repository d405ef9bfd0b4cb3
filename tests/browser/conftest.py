"""Chromium on a real server: whatever the console or the content security policy complains about fails the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from realtime.engine.testing import PROJECT_ROOT, ServerProcess

#: Debian's names. The headless shell is the same browser without windows; it takes a third of the processor's time.
PROGRAMS = ["chromium-headless-shell", "chromium"]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Milliseconds that an action may take before its test fails: a busy machine, and the client's pause of up to 30 s.
TIMEOUT = 45_000
expect.set_options(timeout=TIMEOUT)

#: Makes a second ordinary user beside the demo users.
MAKE_BOB = """
import os
from realtime.engine.testing import create_user
create_user("bob", os.environ["TEST_PASSWORD"])
"""

#: WCAG 2.2 level AA, and what axe's authors recommend beyond it.
RUN_AXE = """async () => {
  const { violations } = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  });
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)}`));
}"""

NewPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def database(database: Path, password: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo database with a further user, bob."""
    path = tmp_path_factory.mktemp("browser") / "db.sqlite3"
    path.write_bytes(database.read_bytes())
    subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", MAKE_BOB],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{path}", "TEST_PASSWORD": password},
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture(scope="session")
def server(database: Path) -> Iterator[ServerProcess]:
    """The project on Daphne, shared by the tests that do not stop it."""
    with ServerProcess(database=database) as process:
        yield process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        missing = f"{' or '.join(PROGRAMS)} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        await chromium.close()


class Complaints:
    """What pages complained about.

    Attributes:
        expected: parts of what a test provokes; a complaint that holds one of them is none.
    """

    #: What Chromium says, and a page cannot prevent, when a WebSocket is refused or its server is gone.
    NETWORK = ("WebSocket connection to", "Failed to load resource", "net::ERR_")

    def __init__(self) -> None:
        self.expected: set[str] = set()
        self._all: list[str] = []

    def add(self, text: str) -> None:
        """Note a complaint."""
        self._all.append(text)

    @property
    def unexpected(self) -> list[str]:
        """The complaints that no test has provoked."""
        return [text for text in self._all if not any(part in text for part in self.expected)]


@pytest.fixture
def complaints() -> Complaints:
    """What the pages of the test complained about."""
    return Complaints()


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(browser: Browser, server: ServerProcess, complaints: Complaints) -> AsyncIterator[NewPage]:
    """Opens a page in a context (cookies, memory) of its own: ``await new_page("/rooms/", color_scheme="dark")``.

    ``script`` runs in every document before the page's own.
    """
    contexts = []

    async def open_page(
        path: str | None = "/login/", *, base_url: str | None = None, script: str = "", **options: object
    ) -> Page:
        context = await browser.new_context(base_url=base_url or server.http(""), **options)
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        page = await context.new_page()
        await page.add_init_script(script)
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.add(message.text))
        page.on("pageerror", lambda error: complaints.add(str(error)))
        if path is not None:
            await page.goto(path)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints.unexpected == []


@pytest.fixture
def make_room() -> Callable[[Page], Awaitable[None]]:
    """Makes the room whose page is being opened, if there is none yet: ``await make_room(page)``."""

    async def make(page: Page) -> None:
        create = page.get_by_role("button", name="Create the room")
        await expect(create.or_(page.locator("[data-status]"))).to_be_visible()
        if await create.is_visible():
            await create.click()

    return make


@pytest.fixture
def violations(npm_package: Callable[[str], Path]) -> Callable[[Page], Awaitable[list[str]]]:
    """Returns what a page has against the rules of axe-core, which comes from npm at test time."""
    axe = (npm_package("axe-core@4.14.1") / "axe.min.js").read_text()

    async def of_page(page: Page) -> list[str]:
        await page.evaluate(axe)
        return await page.evaluate(RUN_AXE)

    return of_page
