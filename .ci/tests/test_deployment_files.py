"""The files of docker/ fit the schemas of the programs that read them, and each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from realtime.engine.server.drain import GRACE
from realtime.engine.testing import PROJECT_ROOT

DOCKER = PROJECT_ROOT / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
COMPOSE_FILES = sorted(DOCKER.glob("compose*.yaml"))

#: Seconds over which a server closes its sockets, by project/settings.py.
DRAIN_SECONDS = 10


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of .ci/requirements.txt."""
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


# Compose


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_files_fit_the_published_schema(path: Path) -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_key_that_compose_does_not_know_is_found(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: realtime, stop_grace: 20s}}\n")
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml")
    assert done.returncode != 0
    assert "stop_grace" in done.stdout + done.stderr


def test_tls_is_published_and_switches_on_what_needs_it() -> None:
    [plain], [tls] = documents(DOCKER / "compose.yaml"), documents(DOCKER / "compose.tls.yaml")
    assert tls["services"]["nginx"]["ports"] == ["443:443"]
    for name in ("DJANGO_SECURE_SSL_REDIRECT", "DJANGO_SECURE_COOKIES"):
        for service in ("web-1", "web-2", "migrate"):
            assert plain["services"][service]["environment"][name] == "$" + "{" + name + ":-0}"
            assert tls["services"][service]["environment"][name] == "$" + "{" + name + ":-1}"
    mounted = [volume.split(":")[-2] for volume in tls["services"]["nginx"]["volumes"]]
    assert mounted == ["/etc/nginx/realtime/server.conf", "/etc/nginx/tls"]
    replaced = [volume.split(":")[-2] for volume in plain["services"]["nginx"]["volumes"]]
    assert "/etc/nginx/realtime/server.conf" in replaced


def test_both_places_have_the_same_upstream_but_for_its_addresses() -> None:
    texts = [(DOCKER / "nginx" / name).read_text() for name in ("upstream.conf", "upstream-host.conf")]
    addresses = [re.findall(r"server (\S+) max_fails", text) for text in texts]
    assert addresses == [["web-1:8000", "web-2:8000"], ["127.0.0.1:8001", "127.0.0.1:8002"]]
    blocks = [re.sub(r"server \S+", "server", text.partition("upstream web")[2]) for text in texts]
    assert blocks[0] == blocks[1]


# Kubernetes


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_the_schemas_of_kubernetes(path: Path) -> None:
    done = run("kubernetes-validate", "--strict", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_key_that_kubernetes_does_not_know_is_found(tmp_path: Path) -> None:
    text = (DOCKER / "kubernetes/deployment.yaml").read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("failureThreshold:", "failures:"))
    assert run("kubernetes-validate", "--strict", tmp_path / "wrong.yaml").returncode != 0


def manifests() -> dict[str, dict[str, Any]]:
    """Every object by its kind."""
    return {document["kind"]: document for path in MANIFESTS for document in documents(path)}


def test_the_manifests_fit_together() -> None:
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    assert found["Job"]["spec"]["template"]["metadata"]["labels"] != labels, "the service would send it requests"
    images = {
        container["image"]
        for workload in (found["Deployment"], found["Job"])
        for container in workload["spec"]["template"]["spec"]["containers"]
    }
    assert len(images) == 1


def test_a_pod_is_given_the_time_that_it_needs_to_stop() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    pause = float(re.search(r"sleep\((\d+)\)", container["lifecycle"]["preStop"]["exec"]["command"][-1])[1])
    assert pod["terminationGracePeriodSeconds"] > pause + DRAIN_SECONDS + GRACE
    # A restart heals no database.
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


# Platforms. The schema of fly.toml and that of render.yaml are in no package.


def listening_port() -> int:
    return int(re.search(r"^EXPOSE (\d+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)[1])


def test_fly_toml_fits_the_image() -> None:
    fly = tomllib.loads((DOCKER / "fly.toml").read_text())
    assert fly["http_service"]["internal_port"] == fly["metrics"]["port"] == listening_port()
    assert fly["kill_timeout"] > DRAIN_SECONDS + GRACE
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/readyz"]
    # Text: a number in [env] is an error of flyctl.
    assert all(isinstance(value, str) for value in fly["env"].values())
    assert int(fly["env"]["WEB_CONCURRENCY"]) == fly["http_service"]["min_machines_running"]


def test_render_yaml_fits_the_image_and_itself() -> None:
    [blueprint] = documents(DOCKER / "render.yaml")
    web, redis = blueprint["services"]
    [database] = blueprint["databases"]
    variables = {entry.pop("key"): entry for entry in web["envVars"]}
    assert variables["PORT"] == {"value": str(listening_port())}
    assert variables["DATABASE_URL"]["fromDatabase"]["name"] == database["name"]
    assert variables["REDIS_URL"]["fromService"]["name"] == redis["name"]
    assert variables["WEB_CONCURRENCY"] == {"value": str(web["numInstances"])}
    assert web["maxShutdownDelaySeconds"] > DRAIN_SECONDS + GRACE
    assert (PROJECT_ROOT / web["dockerContext"] / web["dockerfilePath"]).is_file()


def environments() -> dict[str, set[str]]:
    """The variables that each file sets, by the file."""
    [blueprint] = documents(DOCKER / "render.yaml")
    objects = manifests()
    systemd = (DOCKER / "systemd/realtime.env").read_text()
    compose = [documents(path)[0] for path in COMPOSE_FILES]
    return {
        "fly.toml": set(tomllib.loads((DOCKER / "fly.toml").read_text())["env"]),
        "render.yaml": {entry["key"] for entry in blueprint["services"][0]["envVars"]} - {"PORT"},
        "kubernetes": {*objects["ConfigMap"]["data"], *objects["Secret"]["stringData"]},
        "systemd": set(re.findall(r"^(\w+)=", systemd, re.MULTILINE)),
        "compose": {
            name
            for document in compose
            for service, content in document["services"].items()
            if service.startswith(("web", "migrate"))
            for name in content.get("environment", {})
        },
    }


@pytest.mark.parametrize("place", environments())
def test_every_variable_that_is_set_is_one_of_the_settings(place: str) -> None:
    settings = (PROJECT_ROOT / "project/settings.py").read_text()
    read = set(re.findall(r"env\.\w+\(\s*\"(\w+)\"", settings))
    assert {name.removesuffix("_FILE") for name in environments()[place]} - read == set()
