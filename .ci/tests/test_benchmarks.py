"""The benchmarks run, and their report says what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.scenarios import SCENARIOS
from realtime.engine.testing import PROJECT_ROOT

BROADCAST = next(scenario for scenario in SCENARIOS if scenario.name == "broadcast-500")
MEMORY = next(scenario for scenario in SCENARIOS if scenario.name == "memory")
RESULTS = {
    "broadcast-500": {
        "slow & steady": [{"value": 1000.0, "p50": 2.0, "p99": 4.0, "cpu": 100.0}],
        "this project": [
            {"value": value, "p50": 1.0, "p99": 2.0, "cpu": 5.0} for value in (10_000.0, 50_000.0, 20_000.0)
        ],
    },
    "memory": {"small": [{"value": 8.25}], "large": [{"value": 31.0}]},
}


def test_a_table_has_the_best_first_and_medians():
    assert report.table(BROADCAST, RESULTS).splitlines() == [
        "|  | deliveries/s | p50 ms | p99 ms | CPU µs each |",
        "|---|---:|---:|---:|---:|",
        "| this project | 20,000 | 1.00 | 2.00 | 5.00 |",
        "| slow & steady | 1,000 | 2.00 | 4.00 | 100 |",
    ]


def test_less_is_better_where_it_is():
    assert [line.split("|")[1].strip() for line in report.table(MEMORY, RESULTS).splitlines()[2:]] == ["small", "large"]


def test_a_picture_is_well_formed_and_its_bars_are_in_proportion():
    picture = ElementTree.fromstring(report.bars(BROADCAST, RESULTS))
    svg = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.attrib["width"]) for bar in picture.iter(f"{svg}rect")][1:]
    assert widths[0] == pytest.approx(20 * widths[1])
    assert "slow & steady" in [text.text for text in picture.iter(f"{svg}text")]


def test_ratios_are_those_of_the_medians():
    ours, theirs = "this project on Daphne", "Channels on Daphne"
    results = {
        "echo": {ours: [{"value": 30.0, "cpu": 2.0}], theirs: [{"value": 10.0, "cpu": 20.0}]},
        "memory": {ours: [{"value": 8.0}], theirs: [{"value": 32.0}]},
    }
    rows = [line.split("|")[2].strip() for line in report.ratios(results).splitlines() if line.startswith("| ")]
    assert rows == ["A", "3.0 (10.0)", "4.0"]


def test_two_processes_are_compared_with_one_of_half_and_of_all_members():
    runs = [{"value": 1.0, "cpu": 12.0, "details": {"cpu_of_one_with_half": 8.0, "cpu_of_one_with_all": 10.0}}]
    last = report.sharing({"two-processes": {"ours": runs}}).splitlines()[-1]
    assert last == "| ours | 8.00 | 10.0 | 12.0 | 1.50 | 1.20 |"
    assert report.sharing({}) == ""


def test_a_typed_echo_is_compared_with_a_plain_one():
    runs = [{"value": 1.0, "cpu": 11.0, "details": {"cpu_of_plain": 10.0}}]
    assert report.beside_plain({"echo-typed": {"ours": runs}}).splitlines()[-1] == "| ours | 10.0 | 11.0 | 10% |"
    assert report.beside_plain({}) == ""


def test_the_page_keeps_what_was_written_around_the_figures(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    report.write_page(RESULTS, "a machine", {"this project": ("1.0", "run it")}, page)
    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert "**this project**: 1.0\n\n```sh\nrun it\n```\n" in text
    assert (tmp_path / "images" / "bench-memory.svg").is_file()


@pytest.mark.soak
def test_a_short_run_measures_this_project():
    options = ["--rounds", "1", "--seconds", "0.2", "--only", "broadcast-100", "--who", "this project on Daphne,"]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=100
    )
    assert run.returncode == 0, run.stdout + run.stderr
    raw = json.loads(Path(run.stdout.split("raw results: ")[1].strip()).read_text())
    runs = raw["results"]["broadcast-100"]["this project on Daphne, uvloop"]
    assert runs[0]["value"] > 0
    assert runs[0]["p50"] > 0
