"""The shipped configuration is accepted by the programs that it is for, and names what exists."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import connect

from realtime.engine.server.drain import GRACE
from realtime.engine.testing import PROJECT_ROOT, ServerProcess, migrated_database

DOCKER = PROJECT_ROOT / "docker"
PROMETHEUS = DOCKER / "prometheus"

#: Metrics that Prometheus and its client library bring along.
FOREIGN_METRICS = {
    "up",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
}


# Prometheus and Grafana


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
)
def test_promtool_accepts_the_rules(program, command: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> dict[str, str]:
    """Every PromQL expression that is shipped, by its place."""
    dashboard = json.loads((DOCKER / "grafana/realtime.json").read_text())
    found = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    rules = (PROMETHEUS / "alerts.yml").read_text()
    for number, alert in enumerate(re.split(r"^ +- alert: ", rules, flags=re.MULTILINE)[1:]):
        found[f"alert {number}"] = re.search(r"expr: (?:\|\n)?(.*?)\n +(?:for|labels):", alert, re.DOTALL)[1]
    return found


def test_every_metric_of_the_dashboard_and_the_alerts_is_there(server: ServerProcess) -> None:
    with urllib.request.urlopen(server.http("/metrics"), timeout=10) as response:
        shown = set(re.findall(r"^# TYPE (\S+)", response.read().decode(), re.MULTILINE))
    named = {
        name
        for expression in expressions().values()
        for name in re.findall(
            r"\b((?:websocket|channel_layer|rooms|event_loop|process)_\w+|up)\b(?=[{\[ ])", expression
        )
    }
    known = shown | {f"{name}_bucket" for name in shown} | FOREIGN_METRICS
    assert len(named) > 15
    assert named - known == set()


def test_promtool_parses_every_expression_of_the_dashboard(program, tmp_path: Path) -> None:
    groups = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions().values())
    ]
    rules = tmp_path / "panels.yml"
    rules.write_text(json.dumps({"groups": [{"name": "panels", "rules": groups}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_operations_explains_every_alert() -> None:
    alerts = re.findall(r"- alert: (\w+)", (PROMETHEUS / "alerts.yml").read_text())
    page = (PROJECT_ROOT / "docs/operations.md").read_text()
    assert [alert for alert in alerts if f"`{alert}`" not in page] == []


# nginx


def make_certificate(directory: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=example.org", "-keyout", "privkey.pem", "-out", "fullchain.pem"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.parametrize("server_file", ["server.conf", "tls.conf"])
def test_nginx_accepts_its_configuration(make_nginx, program, server_file: str) -> None:
    nginx = make_nginx([1, 2], server_file)
    if server_file == "tls.conf":
        program("openssl")
        make_certificate(nginx.directory)
    done = nginx.check()
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr, done.stderr


# systemd


def test_systemd_accepts_the_units(program, tmp_path: Path) -> None:
    verify = program("systemd-analyze")
    for unit in (DOCKER / "systemd").iterdir():
        # The one path that does not exist here: the project's environment.
        text = unit.read_text().replace("/srv/realtime/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    plain = [path.name for path in tmp_path.iterdir() if "@" not in path.name and path.suffix != ".env"]
    units = [str(tmp_path / name) for name in ("realtime@8001.service", "realtime@8001.socket", *plain)]
    for template in ("realtime@.service", "realtime@.socket"):
        shutil.copy(tmp_path / template, tmp_path / template.replace("@", "@8001"))
    done = subprocess.run([verify, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "realtime" in line]) == (0, []), done.stderr


def systemd_environment() -> dict[str, str]:
    """What systemd would set, as the files are shipped; the database is nobody's business here."""
    unit = (DOCKER / "systemd/realtime@.service").read_text()
    lines = re.findall(r"^Environment=(\w+=.*)$", unit, re.MULTILINE)
    lines += re.findall(r"^\w+=.*$", (DOCKER / "systemd/realtime.env").read_text(), re.MULTILINE)
    return dict(line.split("=", 1) for line in lines if not line.startswith("DATABASE_URL"))


def image_environment() -> dict[str, str]:
    """What the image sets."""
    return dict(
        word.split("=", 1)
        for name, rest in dockerfile_instructions()
        if name == "ENV"
        for word in rest.split()
        if word.startswith("DJANGO_")
    )


@pytest.mark.parametrize("shipped", [systemd_environment, image_environment])
@pytest.mark.parametrize("key", [None, ""])
def test_production_without_a_secret_key_does_not_start_and_says_so(shipped: Any, key: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    environment |= shipped()
    environment.pop("DJANGO_SECRET_KEY", None)
    if key is not None:
        environment["DJANGO_SECRET_KEY"] = key
    command = [sys.executable, "-m", "project", "-b", "127.0.0.1", "-p", "0"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "DJANGO_SECRET_KEY is" in done.stderr


def start_with_socket(command: list[str], listener: socket.socket, database: Path) -> subprocess.Popen[bytes]:
    database.write_bytes(migrated_database().read_bytes())
    return subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{database}"},
        pass_fds=[listener.fileno()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def test_the_server_takes_a_listening_socket_as_systemd_passes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        unit = (DOCKER / "systemd/realtime@.service").read_text()
        arguments = re.search(r"^ExecStart=\S+ (.*) --fd 3 (.*)$", unit, re.MULTILINE)
        command = [sys.executable, *arguments[1].split(), "--fd", str(listener.fileno()), *arguments[2].split()]
        process = start_with_socket(command, listener, tmp_path / "db.sqlite3")
        try:
            # It waits in the listening socket's queue until the process is up.
            async with connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/ws", open_timeout=60) as client:
                await client.send("hello")
                assert await client.recv() == "hello"
        finally:
            process.terminate()
            assert process.wait(20) == 0


# Containers


def compose(name: str) -> dict[str, Any]:
    return yaml.safe_load((DOCKER / name).read_text())


def seconds(text: str) -> float:
    assert text.endswith("s"), text
    return float(text[:-1])


def test_compose_publishes_nginx_only() -> None:
    services = compose("compose.yaml")["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert compose("compose.yaml")["networks"]["inside"]["internal"] is True
    assert [name for name, service in services.items() if "outside" in service.get("networks", ())] == ["nginx"]


def test_compose_waits_for_healthy_services_and_for_the_drain() -> None:
    services = compose("compose.yaml")["services"]
    drain = float(re.search(r":-(\d+)", services["web-1"]["environment"]["REALTIME_DRAIN_SECONDS"])[1])
    for name in ("web-1", "web-2"):
        assert seconds(services[name]["stop_grace_period"]) > drain + GRACE
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            checked = "healthcheck" in services[needed] or needed.startswith("web-")  # the image has one
            assert how["condition"] == ("service_healthy" if checked else "service_completed_successfully"), name


@pytest.mark.parametrize("name", ["compose.yaml", "compose.dev.yaml"])
def test_compose_pins_its_images_and_names_no_secret_of_production(name: str) -> None:
    services = compose(name)["services"]
    own = {service["image"] for service in services.values() if service["image"].startswith("realtime")}
    foreign = {service["image"] for service in services.values()} - own
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[\w-]+", image) for image in foreign), foreign
    if name == "compose.yaml":
        for service in services.values():
            for variable, value in service.get("environment", {}).items():
                assert not re.search("SECRET_KEY$|PASSWORD$|DATABASE_URL$", variable), (variable, value)


def test_the_secrets_of_compose_are_made_once_and_can_be_read_by_the_settings(tmp_path: Path) -> None:
    script = compose("compose.yaml")["services"]["secrets"]["command"][-1].replace("/run/realtime", str(tmp_path))
    subprocess.run([sys.executable, "-c", script], check=True)
    first = (tmp_path / "secret_key").read_text()
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "secret_key").read_text() == first
    environment = {
        **os.environ,
        "DJANGO_SECRET_KEY_FILE": str(tmp_path / "secret_key"),
        "DATABASE_URL_FILE": str(tmp_path / "database_url"),
        "DJANGO_ALLOWED_HOSTS": "example.org",
    }
    shown = subprocess.run(
        [sys.executable, "-c", "from project import settings as s; print(s.SECRET_KEY, s.DEBUG, s.DATABASES)"],
        cwd=PROJECT_ROOT, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert shown.startswith(f"{first} False ")
    assert (tmp_path / "postgres_password").read_text() in shown


def dockerfile_instructions() -> list[list[str]]:
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    return [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_the_image_is_pinned_runs_as_nobody_in_particular_and_stops_as_the_server_expects() -> None:
    instructions = dockerfile_instructions()
    bases = [rest for name, rest in instructions if name == "FROM"]
    assert len(bases) == 2
    assert all(re.match(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)
    last = dict(instructions)
    assert last["USER"] not in ("root", "0")
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in last["HEALTHCHECK"] or "/healthz" in " ".join(rest for _, rest in instructions)
    # Nothing but the project is copied into the result, and nothing that the context leaves out.
    ignored = (PROJECT_ROOT / ".dockerignore").read_text()
    for name, rest in instructions:
        if name == "COPY" and not rest.startswith("--from"):
            assert all(f"!{source}" in ignored for source in rest.split()[:-1]), rest


def lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint is not None, "requirements-dev.txt brings it"
    return subprocess.run([hadolint, "--no-color", str(dockerfile)], capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = lint(DOCKER / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN pip install django\nUSER root\n")
    found = lint(tmp_path / "Dockerfile").stdout
    assert {"DL3007", "DL3013", "DL3002"} <= set(re.findall(r"\bDL\d+\b", found))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the image holds: the project, and its static files as ``collectstatic`` leaves them."""
    for name in ("project", "realtime", "templates", "static"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT_ROOT / "manage.py", tmp_path)
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput"],
        cwd=tmp_path,
        env={
            **os.environ,
            "DJANGO_SECRET_KEY": "only-for-collectstatic-at-build-time",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONPATH": str(tmp_path),
        },
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return tmp_path


def test_static_files_are_collected_and_sent_compressed(image: Path) -> None:
    assert (image / "staticfiles/admin").is_dir()
    environment = {
        "DJANGO_SECRET_KEY": "k" * 50,
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "DJANGO_SECURE_SSL_REDIRECT": "0",
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "PYTHONPATH": str(image),
    }
    plain = (image / "realtime/engine/static/realtime/connection.js").read_bytes()
    with ServerProcess(cwd=image, env=environment) as server:
        address = server.http("/static/realtime/connection.js")
        for accepted, sent in (("gzip", "gzip"), ("identity", None)):
            request = urllib.request.Request(address, headers={"Accept-Encoding": accepted})
            with urllib.request.urlopen(request, timeout=10) as response:
                body = response.read()
                assert response.headers["Content-Encoding"] == sent
                assert "Accept-Encoding" in response.headers["Vary"]
            assert (gzip.decompress(body) if sent else body) == plain
            assert (len(body) < len(plain) / 2) == bool(sent)
