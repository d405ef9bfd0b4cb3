from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import pytest
from django.core.management import call_command
from django.urls import path, re_path

from realtime.engine.consumers.consumer import PolicyConsumer
from realtime.engine.consumers.handlers import on_message
from realtime.engine.handshake import checks
from realtime.engine.protocol.policy import KIB, SocketPolicy
from realtime.engine.testing import PROJECT_ROOT


class Sized(PolicyConsumer):
    policy = SocketPolicy(max_message_size=KIB)


class Unsized(PolicyConsumer):
    pass


class Wrong(PolicyConsumer):
    policy = {"max_message_size": 5}  # type: ignore[assignment]


@pytest.fixture
def routes(monkeypatch, settings):
    def use(*patterns):
        monkeypatch.setitem(sys.modules, "routes_of_a_test", SimpleNamespace(websocket_urlpatterns=list(patterns)))
        settings.REALTIME_ROUTING = "routes_of_a_test"

    return use


def ids(messages) -> list[str]:
    return [message.id for message in messages]


@pytest.mark.django_db  # Django 6.1 asks the database whether it knows JSON
def test_the_project_itself_is_clean() -> None:
    call_command("check")


def test_a_policy_that_is_none_is_an_error_that_names_the_consumer(routes) -> None:
    routes(path("ws", Wrong.as_asgi()), path("ok", Sized.as_asgi()))
    [error] = checks.check_policies(None)
    assert error.id == "realtime.E001"
    assert "Wrong.policy is a dict" in error.msg


BROKEN = """
import msgspec
from realtime.engine import PolicyConsumer, on_message

class Vote(msgspec.Struct):
    choice: str

class BrokenConsumer(PolicyConsumer):
    @on_message
    async def vote(self, message: Vote): ...
"""


def test_a_declaration_that_cannot_work_is_an_error_that_names_the_method(tmp_path, monkeypatch, settings) -> None:
    (tmp_path / "broken_routes_of_a_test.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    settings.REALTIME_ROUTING = "broken_routes_of_a_test"
    [error] = checks.check_messages(None)
    assert error.id == "realtime.E004"
    assert "BrokenConsumer.vote: it has no return annotation" in error.msg
    assert checks.check_policies(None) == checks.check_routes(None) == []


class Ping(msgspec.Struct):
    pass


class Packed(PolicyConsumer):
    policy = SocketPolicy(max_message_size=KIB, subprotocols=("msgpack",))

    @on_message
    async def ping(self, message: Ping) -> Ping:
        return message


@pytest.mark.parametrize(("serializer", "expected"), [("json", ["realtime.E005"]), ("msgpack", []), (None, [])])
def test_a_layer_that_writes_json_cannot_carry_msgpack(routes, settings, serializer, expected) -> None:
    routes(path("ws", Packed.as_asgi()), path("other", Sized.as_asgi()))
    config = {} if serializer is None else {"serializer_format": serializer}
    layer = {"BACKEND": "realtime.engine.layer.FanoutChannelLayer", "CONFIG": config}
    settings.CHANNEL_LAYERS = {"default": layer}
    assert ids(checks.check_msgpack(None)) == expected


def test_an_application_without_a_consumer_class_needs_no_policy(routes) -> None:
    async def application(scope, receive, send): ...

    routes(path("ws", application))
    assert checks.check_policies(None) == checks.check_deployment(None) == []


SHADOWS = [
    ("the same path twice", ["ws", "ws"], True),
    ("a parameter before a literal", ["ws/<str:room>", "ws/lobby"], True),
    ("a parameter before a parameter", ["ws/<room>", "ws/<int:number>"], True),
    ("a literal before a parameter", ["ws/lobby", "ws/<str:room>"], False),
    ("a narrower parameter first", ["ws/<int:number>", "ws/<str:room>"], False),
    ("different paths", ["ws", "ws/chat"], False),
]


@pytest.mark.parametrize(("paths", "shadowed"), [row[1:] for row in SHADOWS], ids=[row[0] for row in SHADOWS])
def test_a_shadowed_route_is_an_error(routes, paths, shadowed) -> None:
    routes(*(path(route, Sized.as_asgi()) for route in paths))
    assert ids(checks.check_routes(None)) == (["realtime.E003"] if shadowed else [])


def test_a_regular_expression_shadows_too(routes) -> None:
    routes(re_path(r"^ws/.*$", Sized.as_asgi()), path("ws/chat", Sized.as_asgi()))
    [error] = checks.check_routes(None)
    assert "'ws/chat'" in error.msg


@pytest.mark.parametrize(
    ("processes", "redis_url", "found"),
    [(1, "", []), (2, "redis://localhost", []), (2, "", ["realtime.E002"])],
)
def test_several_processes_need_redis(settings, processes, redis_url, found) -> None:
    settings.WEB_CONCURRENCY, settings.REDIS_URL = processes, redis_url
    assert ids(checks.check_processes(None)) == found


def test_default_sizes_are_a_warning_before_deployment(routes) -> None:
    routes(path("ws", Unsized.as_asgi()), path("ok", Sized.as_asgi()))
    [warning] = checks.check_deployment(None)
    assert warning.id == "realtime.W003"
    assert "Unsized" in warning.msg


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_check_deploy_is_clean_with_production_settings(tmp_path) -> None:
    (tmp_path / "deployed.py").write_text(
        f"from project.settings import *\n\nSTATIC_ROOT = {str(tmp_path)!r}  # has this file\n"
    )
    result = manage(
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
        DJANGO_SETTINGS_MODULE="deployed",
        PYTHONPATH=str(tmp_path),
        DJANGO_SECRET_KEY="k7Zq" * 16 + "-unlike-the-others",
        DJANGO_ALLOWED_HOSTS="app.example",
        REDIS_URL="redis://localhost:6379/0",
        WEB_CONCURRENCY="4",
        REALTIME_TRUSTED_PROXIES="1",
    )
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout + result.stderr


def test_production_without_a_secret_key_says_what_to_do() -> None:
    result = manage("check", DJANGO_DEBUG="0")
    assert result.returncode != 0
    assert "DJANGO_SECRET_KEY is not set" in result.stderr


def test_processes_without_redis_fail_the_check() -> None:
    result = manage("check", WEB_CONCURRENCY="2")
    assert result.returncode != 0
    assert "realtime.E002" in result.stderr
