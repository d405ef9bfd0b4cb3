"""The generated clients: both pass one script against a running server, and their types hold."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from realtime.engine.testing import PROJECT_ROOT, ServerProcess, free_port

HERE = Path(__file__).parent / "clients"
SCRIPT = [step for step in json.loads((HERE / "conformance.json").read_text()) if "do" in step]

TYPESCRIPT, WS = "typescript@5.9.3", "ws@8.23.0"
#: What a new project of TypeScript has: ``allowJs`` is not among it.
STRICT = ["--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]

#: Seconds that a step may take on a busy machine.
PATIENCE = 60

ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "conformance_settings", "PYTHONPATH": f"{HERE}{os.pathsep}{PROJECT_ROOT}"}

STORE = """
from django.contrib.auth import get_user_model
from realtime.rooms.models import Room
from realtime.rooms.services import post_message
post_message(Room.objects.get(slug="{room}"), get_user_model().objects.get_by_natural_key("admin"), "{content}")
"""


def manage(*arguments: str, database: Path | None = None) -> None:
    environment = {**os.environ, **ENVIRONMENT}
    if database is not None:
        environment["DATABASE_URL"] = f"sqlite:///{database}"
    command = [sys.executable, str(PROJECT_ROOT / "manage.py"), *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both clients of the endpoints of the conformance script."""
    folder = tmp_path_factory.mktemp("clients")
    for language in ("typescript", "python"):
        manage("generateclient", language, "--output", str(folder / language))
    return folder


@pytest.fixture(scope="module")
def node(clients: Path, npm_package: Callable[[str], Path]) -> Path:
    """The folder of the TypeScript client, beside the packages of npm that its test needs."""
    if shutil.which("node") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("node is not installed")
    packages = clients / "node_modules"
    packages.mkdir()
    (packages / "ws").symlink_to(npm_package(WS), target_is_directory=True)
    (packages / "typescript").symlink_to(npm_package(TYPESCRIPT), target_is_directory=True)
    (clients / "package.json").write_text('{"type": "module"}')
    return clients / "typescript"


class Driver:
    """A program that performs steps with one of the clients."""

    def __init__(self, command: list[str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)

    def perform(self, step: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        try:
            return json.loads(self._answers.get(timeout=PATIENCE))
        except queue.Empty:
            self._process.kill()
            raise AssertionError(f"no answer to {step}: {self._process.communicate()[1][-3000:]}") from None

    def end(self) -> tuple[int, str]:
        _, problems = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, problems

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class Site:
    """The server of the conformance script, which its steps kill and start again."""

    def __init__(self, database: Path, servers: contextlib.ExitStack) -> None:
        self.database = database
        self._servers = servers
        self._port = free_port()
        self.start()

    def start(self) -> None:
        server = ServerProcess(database=self.database, env=ENVIRONMENT, port=self._port, fork=False)
        self._server = self._servers.enter_context(server)

    def kill(self) -> None:
        self._server.kill()

    def store(self, room: str, content: str) -> None:
        manage(
            "shell", "--verbosity", "0", "--command", STORE.format(room=room, content=content), database=self.database
        )

    def token(self, password: str) -> str:
        body = json.dumps({"username": "ann", "password": password}).encode()
        request = urllib.request.Request(f"{self.base}/api/token/", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)["access"]

    @property
    def base(self) -> str:
        return self._server.http("")


@pytest.fixture
def site(database_copy: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as servers:
        yield Site(database_copy, servers)


def differences(expected: Any, found: Any, place: str = "$") -> list[str]:
    """Return where ``found`` is not what is expected; objects may have more than that."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            problem
            for name, value in expected.items()
            for problem in differences(value, found.get(name, "nothing"), f"{place}.{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [problem for number, pair in pairs for problem in differences(*pair, f"{place}[{number}]")]
    return [] if expected == found else [f"{place}: expected {expected!r}, found {found!r}"]


def perform(driver: Driver, site: Site) -> None:
    for step in SCRIPT:
        match step:
            case {"do": "kill"}:
                site.kill()
            case {"do": "start"}:
                site.start()
            case {"do": "store", "room": room, "content": content}:
                site.store(room, content)
            case _:
                assert differences(step["expect"], driver.perform(step)) == [], step


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["typescript", "python"])
def test_a_client_passes_the_conformance_script(
    language: str, clients: Path, site: Site, password: str, request: pytest.FixtureRequest
) -> None:
    if language == "typescript":
        folder = request.getfixturevalue("node")
        program = shutil.copy(HERE / "driver.mjs", clients)
        command = ["node", program]
    else:
        folder = clients / "python"
        command = [sys.executable, "-I", "-W", "error", str(HERE / "driver.py")]
    driver = Driver([*command, str(folder), site.base, site.token(password)], clients)
    try:
        perform(driver, site)
        assert driver.end() == (0, "")
    finally:
        driver.kill()


USAGE_TS = """
import { PollSocket, RequestRefused } from "./typescript/poll.js";
import { RoomsSocket, type Chat } from "./typescript/rooms.js";

const poll = new PollSocket({ base: "https://example.com", token: async () => "token" });
const tally = await poll.request({ type: "Vote", choice: "tea" }, { timeout: 1000 });
const votes: { [choice: string]: number } = tally.votes;
const off: () => void = poll.on("News", ({ text, urgent }) => console.log(text.length, urgent === true, votes));
const sent: boolean = poll.send({ type: "Wait" });
poll.addEventListener("state", () => console.log(poll.state.phase, off, sent));
const rooms = new RoomsSocket({ base: "https://example.com", params: { room: "lobby" } });
const lobby = rooms.subscribe("lobby");
lobby.on("message", (message: Chat) => console.log(message.content));
lobby.on("joined", ({ recovered, messages }) => console.log(recovered, messages[0]?.seq));
const page = rooms.request({ type: "History" });
page.then(({ messages }) => messages, (error) => error instanceof RequestRefused && error.code);
"""

#: What is changed in the program above, and what the compiler says.
WRONG_TS = [
    ('type: "Vote", choice', 'type: "Vote", choise', "choise"),
    ('choice: "tea"', "choice: 7", "'number' is not assignable to type 'string'"),
    ('{ type: "Wait" }', '{ type: "Weight" }', "Weight"),
    ("tally.votes", "tally.count", "'count' does not exist on type 'Tally'"),
    ('on("News"', 'on("Gnus"', "Gnus"),
    ("text.length", "text.lenght", "lenght"),
    ("message.content", "message.contents", "contents"),
    ('token: async () => "token"', "tokens: 1", "tokens"),
]

USAGE_PY = """
import asyncio

from python.poll import News, PollSocket, RequestRefused, Vote
from python.rooms import Chat, History, Joined, RoomsSocket


def show(news: News) -> None:
    print(news.text.upper(), news.urgent is True)


async def main() -> None:
    async with PollSocket("https://example.com", token=lambda renew: "token") as poll:
        off = poll.on(News, show)
        try:
            tally = await poll.request(Vote(choice="tea"), timeout=1)
            print(tally.votes["tea"] + 1)
        except RequestRefused as error:
            print(error.code, off)
    async with RoomsSocket("https://example.com", params={"room": "lobby"}) as rooms:
        def on_joined(joined: Joined) -> None:
            print(joined.recovered, joined.messages[0].seq)

        def on_message(message: Chat) -> None:
            print(message.content, message.at.year)

        await rooms.subscribe("lobby", on_message, on_joined=on_joined)
        page = await rooms.request(History(before=7))
        print(page.messages)


asyncio.run(main())
"""

WRONG_PY = [
    ('Vote(choice="tea")', 'Vote(choise="tea")', "choise"),
    ('choice="tea"', "choice=7", 'expected "str"'),
    ('tally.votes["tea"]', "tally.count", '"Tally" has no attribute "count"'),
    ("poll.on(News", "poll.on(Vote", "News"),
    ("message.content", "message.contents", "contents"),
    ("page.messages", "page.seq", '"Page" has no attribute "seq"'),
]


def test_a_program_in_strict_typescript_has_the_types_of_the_endpoints(clients: Path, node: Path) -> None:
    def check(*programs: str) -> list[str]:
        files = [clients / f"usage{number}.ts" for number, _ in enumerate(programs)]
        for file, program in zip(files, programs, strict=True):
            file.write_text(program)
        command = ["node", "node_modules/typescript/lib/tsc.js", *STRICT, *(file.name for file in files)]
        return subprocess.run(command, cwd=clients, capture_output=True, text=True).stdout.splitlines()

    assert check(USAGE_TS) == []
    complaints = check(*(USAGE_TS.replace(right, wrong, 1) for right, wrong, _ in WRONG_TS))
    for number, (_, _, problem) in enumerate(WRONG_TS):
        assert any(line.startswith(f"usage{number}.ts(") and problem in line for line in complaints), problem


def test_a_program_in_strict_python_has_the_types_of_the_endpoints(clients: Path) -> None:
    def check(*programs: str) -> list[str]:
        files = [clients / f"usage_{number}.py" for number, _ in enumerate(programs)]
        for file, program in zip(files, programs, strict=True):
            file.write_text(program)
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir", "cache"]
        names = [file.name for file in files]
        return subprocess.run([*command, *names], cwd=clients, capture_output=True, text=True).stdout.splitlines()

    [report] = check(USAGE_PY)
    assert report.startswith("Success")
    complaints = check(*(USAGE_PY.replace(right, wrong, 1) for right, wrong, _ in WRONG_PY))
    for number, (_, _, problem) in enumerate(WRONG_PY):
        assert any(line.startswith(f"usage_{number}.py:") and problem in line for line in complaints), problem


def test_the_committed_client_is_up_to_date() -> None:
    call_command("generateclient", "typescript", "--check")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder for the programs of docs/clients.md, beside a client that the page's own commands have made."""
    (tmp_path / "app").mkdir()
    (tmp_path / "mysite").mkdir()
    commands = re.findall(r"^\$ python manage.py (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        # Those without --output are for the files of the project itself, which are as they were.
        arguments = shlex.split(command) if "--output" in command else [*shlex.split(command), "--check"]
        program = [sys.executable, str(PROJECT_ROOT / "manage.py"), *arguments]
        done = subprocess.run(program, cwd=tmp_path / "mysite", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return tmp_path / "app"


PAGE = (PROJECT_ROOT / "docs" / "clients.md").read_text()

TALK_TS = """
import { WebSocket } from "ws";
import { talk } from "./talk.js";
console.log(await talk(process.argv[2], process.argv[3], WebSocket));
"""


def example(language: str) -> str:
    """Return the first program of the page in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_program_in_typescript_of_the_page_talks(page: Path, node: Path, site: Site, password: str) -> None:
    source = page / "src"
    (source / "talk.ts").write_text(example("ts"))
    (source / "main.mjs").write_text(TALK_TS)
    (source / "node_modules").symlink_to(node.parent / "node_modules")
    compile_it = ["node", "node_modules/typescript/lib/tsc.js", *STRICT, "--noEmit", "false", "talk.ts"]
    compiled = subprocess.run(compile_it, cwd=source, capture_output=True, text=True)
    assert compiled.stdout == ""
    (source / "package.json").write_text('{"type": "module"}')
    run = ["node", "main.mjs", site.base, site.token(password)]
    talked = subprocess.run(run, cwd=source, capture_output=True, text=True, timeout=PATIENCE)
    assert (talked.stdout, talked.stderr) == ("1\n", "")


def test_the_program_in_python_of_the_page_talks(page: Path, site: Site, password: str) -> None:
    (page / "talk.py").write_text(
        example("python") + "\n\nimport sys\n\nprint(asyncio.run(talk(sys.argv[1], sys.argv[2])))\n"
    )
    run = [sys.executable, "-W", "error", "talk.py", site.base, site.token(password)]
    talked = subprocess.run(run, cwd=page, capture_output=True, text=True, timeout=PATIENCE)
    assert (talked.stdout, talked.stderr) == ("1\n", "")
