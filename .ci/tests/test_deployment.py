"""The documents of deployment work as they are printed.

Every command of the pages is run on a root of its own, with systemd, PostgreSQL, Redis and nginx, or listed here with
the reason why it cannot be.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime.engine.testing import PROJECT_ROOT

PAGES = [PROJECT_ROOT / "docs" / name for name in ("deployment.md", "operations.md", "deployment-platforms.md")]

#: Beginnings of commands that no test runs, and why.
NOT_RUN = {
    "docker compose ": "there is no Docker daemon; test_deployment_files.py validates the files",
    "export ": "variables of docker compose",
    "kubectl ": "there is no cluster; test_deployment_files.py validates the manifests",
    "fly ": "needs an account; test_deployment_files.py compares fly.toml with the image",
}

#: Commands that something else stands in for, and why.
STAND_INS = {
    # Let's Encrypt asks a public address. A certificate of the test's own stands in its place.
    "sudo certbot certonly ": "/mnt/make-certificate",
    # The shipped file names example.org, and so does the test.
    "sudo editor ": "true",
}

#: What needs the package registries; everything else runs without a network.
NEEDS_REGISTRY = ("sudo apt-get ", "sudo make install", "sudo .venv/bin/python -m pip install ")

#: What the page says of its own: all commands after the clone run there.
CHECKOUT = "/srv/realtime"

#: Where the address of the page leads.
GITCONFIG = """
[url "/mnt/realtime.git"]
    insteadOf = https://git.example.org/realtime.git
[safe]
    directory = *
"""

MAKE_CERTIFICATE = """
set -e
folder=/etc/letsencrypt/live/example.org
mkdir -p $folder
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=example.org -addext subjectAltName=DNS:example.org \
    -keyout $folder/privkey.pem -out $folder/fullchain.pem 2>/dev/null
cp $folder/fullchain.pem /usr/local/share/ca-certificates/example.crt
update-ca-certificates >/dev/null 2>&1
"""

#: Connects by nginx, says so, and prints the code with which its connection is closed.
WAIT_FOR_CLOSE = """
import ssl
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
context = ssl.create_default_context(cafile="/etc/letsencrypt/live/example.org/fullchain.pem")
with connect("wss://example.org/ws", ssl=context, origin="https://example.org") as client:
    client.send("there?")
    assert client.recv() == "there?"
    print("connected", flush=True)
    try:
        client.recv()
    except ConnectionClosed as closed:
        print(closed.rcvd.code, flush=True)
"""


def commands(page: Path) -> list[str]:
    return re.findall(r"^\$ (.*)$", page.read_text(), re.MULTILINE)


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


def test_every_command_that_is_not_run_is_in_the_pages() -> None:
    printed = [command for page in PAGES for command in commands(page)]
    assert len([command for command in printed if is_run(command)]) > 40
    for beginning in (*NOT_RUN, *STAND_INS, *NEEDS_REGISTRY):
        assert any(command.startswith(beginning) for command in printed), beginning


class FreshRoot:
    """A root with systemd in namespaces of its own, made by ``.ci/fresh-root``."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"
        namespaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")
        command = ["unshare", *namespaces, str(PROJECT_ROOT / ".ci/fresh-root"), str(folder)]
        self._log = (folder / "boot.log").open("w")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._folder = "/"
        self._wait_until_booted()

    def _wait_until_booted(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(IndexError):
                if self.start("systemctl is-system-running --wait").communicate()[0].strip() in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise RuntimeError(f"systemd did not start: {Path(self._log.name).read_text()}")

    @property
    def _init(self) -> str:
        """The process id of systemd."""
        return Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]

    def start(self, command: str, *, network: bool = False, **options: object) -> subprocess.Popen[str]:
        """Start a shell command inside, with the network of this machine or without any."""
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", *([] if network else ["--net"])]
        environment = ["HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"]
        environment.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        shell = ["bash", "-c", f"cd {self._folder} && {command}"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        return subprocess.Popen(
            ["nsenter", "--target", self._init, *namespaces, "--root", "--wd", "env", "-i", *environment, *shell],
            text=True,
            **pipes,
        )

    def run(self, command: str, *, network: bool = False, status: int = 0) -> str:
        """Run a shell command inside and return its output; fails unless it exits with ``status``."""
        process = self.start(command, network=network)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == status, f"$ {command}\n{output}{self.failures()}"
        return output

    def failures(self) -> str:
        """Return what systemd has to say about units that failed."""
        output, _ = self.start("systemctl --failed --no-pager; journalctl --boot --lines 40 --no-pager").communicate()
        return output

    def change_folder(self, folder: str) -> None:
        """Run all further commands in a folder."""
        self._folder = folder

    def converse(self, command: str, answers: dict[str, str]) -> str:
        """Run a command that asks at a terminal, and answer each prompt by the pattern that it matches."""
        terminal, inside = pty.openpty()
        process = self.start(f"setsid --ctty --wait {command}", stdin=inside, stdout=inside, stderr=inside)
        os.close(inside)
        shown, seen = "", 0
        while select.select([terminal], [], [], 60)[0]:
            try:
                shown += os.read(terminal, 1024).decode()
            except OSError:  # the other end is closed
                break
            for prompt, answer in answers.items():
                if found := re.search(prompt, shown[seen:]):
                    seen += found.end()
                    os.write(terminal, f"{answer}\n".encode())
                    break
        os.close(terminal)
        assert process.wait(60) == 0, shown
        return shown

    def stop(self) -> None:
        """End everything inside."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def make_repository(folder: Path) -> None:
    """Make a repository of the files of this checkout, and a bare one from it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (PROJECT_ROOT / name).is_file() and not (PROJECT_ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT_ROOT / name, folder / name)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    publish(folder)


def publish(folder: Path) -> None:
    """Commit the files and put them where the server gets them from."""
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *author, "commit", "--quiet", "--all", "--message", "A version"], cwd=folder, check=True)
    bare = folder.parent / "realtime.git"
    if not bare.exists():
        subprocess.run(["git", "clone", "--quiet", "--bare", str(folder), str(bare)], check=True)
    subprocess.run(["git", "push", "--quiet", str(bare), "HEAD"], cwd=folder, check=True)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshRoot]:
    """An empty server, but for ``sudo``, which the reader of the page has."""
    refuse: Callable[[str], None] = pytest.fail if "CI" in os.environ else pytest.skip
    if os.geteuid() != 0:
        refuse("only root can make a root")
    for program in ("unshare", "/lib/systemd/systemd"):
        if shutil.which(program) is None:
            refuse(f"{program} is not installed")
    root = FreshRoot(tmp_path_factory.mktemp("fresh"))
    try:
        make_repository(root.shared / "checkout")
        (root.shared / "make-certificate").write_text(f"#!/bin/bash\n{MAKE_CERTIFICATE}")
        (root.shared / "make-certificate").chmod(0o755)
        # How the machine of the test reaches the package registry.
        options = [f"{name[4:].lower()} = {value}" for name, value in os.environ.items() if name.startswith("PIP_")]
        (root.shared / "pip.conf").write_text("\n".join(["[global]", *options, ""]))
        (root.shared / "gitconfig").write_text(GITCONFIG)
        root.run("cp /mnt/pip.conf /mnt/gitconfig /etc/ && echo 127.0.0.1 example.org >> /etc/hosts")
        root.run("apt-get update -qq && apt-get install --yes -qq sudo", network=True)
        yield root
    finally:
        root.stop()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_commands_of_the_pages_make_a_site_with_tls_and_replace_it(fresh: FreshRoot) -> None:
    connection = None
    for command in [command for page in PAGES for command in commands(page) if is_run(command)]:
        if command.startswith("cd "):
            fresh.change_folder(command.removeprefix("cd "))
        elif command.endswith("createsuperuser"):
            answers = {"Username.*:": "admin", "Email.*:": "admin@example.org", "Password.*:": "a-long-pass-phrase"}
            assert "created" in fresh.converse(command, answers)
        else:
            if command == "sudo git pull --ff-only":
                check_the_site(fresh)
                connection = prepare_new_version(fresh)
            stand_in = next((program for start, program in STAND_INS.items() if command.startswith(start)), command)
            fresh.run(stand_in, network=command.startswith(NEEDS_REGISTRY))
    check_the_new_version(fresh, connection)
    check_the_copy(fresh)
    fresh.run("systemctl start realtime-cleanup.service")


def check_the_site(fresh: FreshRoot) -> None:
    shown = fresh.run("curl --silent --include https://example.org/login/")
    assert re.match(r"HTTP/1.1 200", shown)
    assert re.search(r"^set-cookie: csrftoken=.*; Secure\r?$", shown, re.MULTILINE | re.IGNORECASE)
    [style, *_] = re.findall(r'href="(/static/[^"]+\.css)"', shown)
    fresh.run(f"curl --fail --silent https://example.org{style}")
    moved = fresh.run("curl --silent --head http://example.org/login/")
    assert re.search(r"^location: https://example.org/login/\r?$", moved, re.MULTILINE | re.IGNORECASE)
    for hidden in ("/metrics", "/readyz"):
        status = "%" + "{http_code}"
        assert fresh.run(f"curl --silent --output /dev/null --write-out {status} https://example.org{hidden}") == "404"

    assert fresh.run("stat --format '%U %G %a' /etc/realtime.env") == "root realtime 640\n"
    assert fresh.run("ps -o user= -p $(systemctl show --property MainPID --value realtime@8001)").strip() == "realtime"
    fresh.run("sudo -u realtime touch /srv/realtime/manage.py", status=1)
    shown = 'from django.conf import settings as s; print(s.DEBUG, s.DATABASES["default"]["ENGINE"])'
    settings = fresh.run(f"sudo -u realtime .venv/bin/python manage.py shell --verbosity 0 -c '{shown}'")
    assert settings == "False django.db.backends.postgresql\n"
    # `make install` leaves out what the tests need.
    assert "No module named 'pytest'" in fresh.run(".venv/bin/python -c 'import pytest'", status=1)
    check_a_reboot(fresh)


def check_a_reboot(fresh: FreshRoot) -> None:
    """What systemd does at a boot: it starts what is enabled, without a terminal."""
    units = "nginx realtime@8001.socket realtime@8002.socket realtime.target realtime-backup.timer"
    assert set(fresh.run(f"systemctl is-enabled {units}").split()) == {"enabled"}
    # By name: systemd does not wait for what it stops along with the target.
    fresh.run("systemctl stop nginx realtime.target 'realtime@*.service' 'realtime@*.socket'")
    fresh.run("curl --silent http://127.0.0.1:8001/readyz", status=7)
    fresh.run("systemctl start nginx realtime.target")
    fresh.run("curl --fail --silent --retry 20 --retry-delay 1 https://example.org/healthz")


def prepare_new_version(fresh: FreshRoot) -> subprocess.Popen[str]:
    """Publish a version with another style sheet, and connect to the old one."""
    checkout = fresh.shared / "checkout"
    style = next(iter(sorted((checkout / "static/realtime").glob("*.css"))))
    style.write_text(style.read_text() + "/* the new version */\n")
    publish(checkout)
    (fresh.shared / "wait.py").write_text(WAIT_FOR_CLOSE)
    connection = fresh.start(".venv/bin/python /mnt/wait.py")
    assert connection.stdout is not None
    assert connection.stdout.readline() == "connected\n"
    return connection


def check_the_new_version(fresh: FreshRoot, connection: subprocess.Popen[str] | None) -> None:
    assert connection is not None
    assert connection.communicate(timeout=30)[0] == "1012\n"
    name = next(iter(sorted((fresh.shared / "checkout/static/realtime").glob("*.css")))).name
    assert "the new version" in fresh.run(f"curl --fail --silent https://example.org/static/realtime/{name}")


def check_the_copy(fresh: FreshRoot) -> None:
    """The administrator is in the database that was restored from the backup."""
    count = "from django.contrib.auth import get_user_model as u; print(u().objects.filter(is_superuser=True).count())"
    python = "sudo -u realtime DATABASE_URL=postgres:///restored .venv/bin/python"
    assert fresh.run(f"{python} manage.py shell --verbosity 0 -c '{count}'") == "1\n"
