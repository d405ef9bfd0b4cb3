from __future__ import annotations

import asyncio

import pytest
from django.test import AsyncClient

from realtime.engine.monitoring import health
from realtime.engine.server.drain import DRAIN

pytestmark = pytest.mark.django_db(transaction=True)


async def test_healthz_answers() -> None:
    response = await AsyncClient().get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


async def test_readyz_names_each_check_with_its_time() -> None:
    response = await AsyncClient().get("/readyz")
    report = response.json()
    assert response.status_code == 200
    assert report["ready"] is True
    assert set(report["checks"]) == {"database", "channel_layer", "draining"}
    assert all(check["ok"] and check["ms"] >= 0 for check in report["checks"].values())


async def failing() -> None:
    raise ConnectionError("password=hunter2")


async def hanging() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("check", "problem"), [(failing, "ConnectionError"), (hanging, "no answer within 0.05 s")])
async def test_readyz_is_503_when_a_check_fails_or_hangs_and_shows_no_secret(monkeypatch, check, problem) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT", 0.05)
    monkeypatch.setitem(health.CHECKS, "database", check)
    response = await AsyncClient().get("/readyz")
    report = response.json()
    assert response.status_code == 503
    assert report["ready"] is False
    assert report["checks"]["database"]["problem"] == problem
    assert report["checks"]["channel_layer"]["ok"] is True
    assert b"hunter2" not in response.content


async def test_a_stopping_process_is_not_ready(monkeypatch) -> None:
    monkeypatch.setattr(DRAIN, "draining", True)
    response = await AsyncClient().get("/readyz")
    report = response.json()
    assert response.status_code == 503
    assert report["checks"]["draining"] == {**report["checks"]["draining"], "ok": False, "problem": "Draining"}


#: Off or on, the header that a proxy adds, and what is not there then.
THROUGH_A_PROXY = [
    (True, {"X-Forwarded-For": "203.0.113.7"}, set()),
    (False, {}, set()),
    (False, {"X-Forwarded-For": "203.0.113.7"}, {"/readyz", "/metrics"}),
    (False, {"X-Forwarded-Proto": "https"}, {"/readyz", "/metrics"}),
    (False, {"X-Forwarded-For": ""}, {"/readyz", "/metrics"}),
]


@pytest.mark.parametrize(("is_public", "headers", "hidden"), THROUGH_A_PROXY)
async def test_what_shows_the_inside_can_be_hidden_from_requests_through_a_proxy(
    settings, is_public, headers, hidden
) -> None:
    settings.REALTIME_PUBLIC_MONITORS = is_public
    client = AsyncClient()
    statuses = {
        path: (await client.get(path, headers=headers)).status_code for path in ("/healthz", "/readyz", "/metrics")
    }
    assert statuses == {path: 404 if path in hidden else 200 for path in statuses}
