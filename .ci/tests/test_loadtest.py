from __future__ import annotations

import io
import re

import pytest
from django.core.management import CommandError, call_command

from realtime.engine.testing.loadtest import Load, Plan, is_loopback, percentile, report, sparkline
from realtime.engine.testing.server import ServerProcess


@pytest.mark.parametrize("scenario", ["echo", "chat", "rooms"])
def test_each_scenario_moves_messages_and_reports_them(server: ServerProcess, scenario: str) -> None:
    out = io.StringIO()
    call_command(
        "loadtest", server.ws(""), scenario=scenario, connections=20, seconds=2, rate=20, stdout=out, no_color=True
    )
    text = out.getvalue()
    assert f"{scenario}: 20 of 20 connections" in text
    received = int(re.search(r"received +([\d,]+) messages", text)[1].replace(",", ""))
    assert received > 20
    assert re.search(r"p50 [\d.]+ ms  p99 [\d.]+ ms  p99.9 [\d.]+ ms", text)
    assert "errors    none" in text


def test_refusals_are_reported_by_their_kind(server: ServerProcess) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="3 connections were not opened"):
        call_command("loadtest", server.ws("/ws/auth"), connections=3, seconds=0.1, stdout=out)
    assert "refused with 401: 3" in out.getvalue()


@pytest.mark.parametrize("url", ["ws://192.0.2.7:8000", "wss://192.0.2.7"])
def test_another_host_is_refused_unless_told_otherwise(url: str) -> None:
    with pytest.raises(CommandError, match="--allow-remote"):
        call_command("loadtest", url)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:8000", "ws://"])
def test_what_is_no_websocket_address_is_refused(url: str) -> None:
    with pytest.raises(CommandError, match="not a ws"):
        call_command("loadtest", url)


@pytest.mark.parametrize(
    ("url", "own"),
    [("ws://127.0.0.1:1", True), ("ws://[::1]:1", True), ("ws://127.8.9.1", True), ("ws://192.0.2.1", False)],
)
def test_loopback_is_this_machine(url: str, own: bool) -> None:
    assert is_loopback(url) is own


def test_the_report_computes_what_it_says() -> None:
    load = Load(Plan("ws://127.0.0.1", connections=2, seconds=2), opened=2, sent=1000, received=1000)
    load.latencies.extend(number / 1000 for number in range(1000))
    load.errors["closed with 1013"] = 2
    text = report(load)
    assert "1,000 messages, 500/s" in text
    assert "p50 500.0 ms  p99 990.0 ms  p99.9 999.0 ms" in text
    assert "closed with 1013: 2" in text
    assert re.search(r"under    512 ms █+ +256", text)


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([7.0], 0.999) == 7


def test_the_highest_value_has_the_highest_bar() -> None:
    assert sparkline([0, 4, 8]) == "▁▄█"
