"""Measure this project and its peers in turn: ``python -m benchmarks`` (``make bench``).

Every figure is the median of some rounds; in each round every contender has its turn, on a server started for it,
so that a machine that slows down slows down all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.contenders import BUILD, ROOT, SERVER_CORE, Contender, RunningServer, contenders
from benchmarks.load import TIMEOUT, Measurement
from benchmarks.report import beside_plain, sharing, write_page
from benchmarks.scenarios import SCENARIOS, Scenario
from realtime.engine.testing import RedisProcess, migrated_database

#: The measurements of one scenario, by contender.
Runs = dict[str, list[dict[str, Any]]]

PAGE = ROOT / "docs" / "performance.md"


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    _prepare_this_process()
    BUILD.mkdir(parents=True, exist_ok=True)
    print(_machine())
    taking_part = [one for one in contenders() if not options.who or any(part in one.name for part in options.who)]
    wanted = [one for one in SCENARIOS if not options.only or one.name in options.only]
    report = _Report(options, taking_part)
    with _redis() as redis_url:
        for scenario in wanted:
            runs = _measure(scenario, taking_part, redis_url, options)
            report.add(scenario, runs)
            if scenario.name == "two-processes":
                print(sharing({scenario.name: runs}))
            if scenario.name == "echo-typed":
                print(beside_plain({scenario.name: runs}))
    print(f"\nraw results: {report.path}")
    if options.page:
        print(f"tables and pictures: {PAGE}")


class _Report:
    """Written after each scenario: who stops the run half-way keeps what was measured."""

    def __init__(self, options: argparse.Namespace, taking_part: list[Contender]) -> None:
        self.path = BUILD / f"results-{time.strftime('%Y%m%d-%H%M%S')}.json"
        self._options = options
        self._versions = {one.name: (one.versions, one.shown_command) for one in taking_part}
        self._results: dict[str, Runs] = {}

    def add(self, scenario: Scenario, runs: Runs) -> None:
        self._results[scenario.name] = runs
        raw = {
            "machine": _machine(),
            "seconds": self._options.seconds,
            "versions": self._versions,
            "results": self._results,
        }
        self.path.write_text(json.dumps(raw, indent=1))
        if self._options.page:
            write_page(self._results, _machine(), self._versions, PAGE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender has its turn")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement takes")
    parser.add_argument("--only", action="append", choices=[one.name for one in SCENARIOS], help="a scenario; repeat")
    parser.add_argument("--who", action="append", help="a part of a contender's name; repeat")
    parser.add_argument("--page", action="store_true", help="write the results into docs/performance.md")
    return parser.parse_args()


def _prepare_this_process() -> None:
    """Leave the server's core alone, and allow thousands of sockets."""
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {max(cores)})
    else:
        print("  one core only: server and client share it, and the figures are lower for all")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _redis() -> Any:
    try:
        server = RedisProcess()
    except FileNotFoundError:
        print("  redis-server is not installed: without the contenders that need it")
        yield None
        return
    try:
        yield server.url
    finally:
        server.kill()


def _measure(
    scenario: Scenario, taking_part: list[Contender], redis_url: str | None, options: argparse.Namespace
) -> Runs:
    print(f"\n{scenario.title}")
    runs: Runs = {}
    for round_number in range(options.rounds):
        for contender in taking_part:
            if not scenario.takes(contender) or (contender.needs_redis and redis_url is None):
                continue
            measurement = _run(scenario, contender, redis_url, options.seconds)
            if measurement is not None:
                runs.setdefault(contender.name, []).append(dataclasses.asdict(measurement))
                _show(round_number, contender, scenario, measurement)
    return runs


def _run(scenario: Scenario, contender: Contender, redis_url: str | None, seconds: float) -> Measurement | None:
    database = BUILD / "benchmark.sqlite3"
    database.write_bytes(migrated_database().read_bytes())
    servers: list[RunningServer] = []

    async def bounded() -> Measurement:
        async with asyncio.timeout(TIMEOUT + 8 * seconds):
            return await scenario.run(servers, seconds)

    try:
        for _ in range(scenario.servers):
            servers.append(RunningServer(contender, redis_url, database))
        return uvloop.run(bounded())
    except (RuntimeError, TimeoutError, OSError) as error:
        # One contender that cannot do one thing is a result too; the others go on.
        print(f"  {contender.name}: no figure ({str(error) or type(error).__name__})")
        return None
    finally:
        for server in servers:
            server.stop()


def _show(round_number: int, contender: Contender, scenario: Scenario, measurement: Measurement) -> None:
    latency = "" if measurement.p50 is None else f"   p50 {measurement.p50:.2f} ms, p99 {measurement.p99:.2f} ms"
    cpu = "" if measurement.cpu is None else f"   {measurement.cpu:.1f} µs CPU each"
    print(f"  {round_number + 1}. {contender.name:34} {measurement.value:>12,.1f} {scenario.unit}{latency}{cpu}")
    sys.stdout.flush()


def _machine() -> str:
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    day = time.strftime("%Y-%m-%d")
    return (
        f"{day}, {os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}. The server is pinned to core {SERVER_CORE}, the load client to the last one."
    )


if __name__ == "__main__":
    main()
