"""Results as tables and pictures: plain Markdown and plain SVG."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.scenarios import SCENARIOS, Scenario

__all__ = ["BEGIN", "END", "bars", "best", "table", "write_page"]

#: What `make bench` writes stands between these lines of docs/performance.md.
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

#: Sizes of the picture in pixels.
LABEL, BAR, ROW, FIGURE = 230, 380, 26, 110

Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


def best(runs: Sequence[Mapping[str, Any]], key: str = "value") -> float | None:
    """Return the median over the rounds."""
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(scenario: Scenario, results: Results) -> str:
    """Return a Markdown table of one scenario, the best first."""
    runs = results[scenario.name]
    rows = sorted(runs, key=lambda name: best(runs[name]) or 0, reverse=not scenario.less_is_better)
    has_latency = any(run.get("p50") is not None for name in rows for run in runs[name])
    has_cpu = any(run.get("cpu") is not None for name in rows for run in runs[name])
    head = ["", scenario.unit]
    head += ["p50 ms", "p99 ms"] if has_latency else []
    head += ["CPU µs each"] if has_cpu else []
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    for name in rows:
        cells = [name, _number(best(runs[name]))]
        cells += [_number(best(runs[name], "p50")), _number(best(runs[name], "p99"))] if has_latency else []
        cells += [_number(best(runs[name], "cpu"))] if has_cpu else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bars(scenario: Scenario, results: Results) -> str:
    """Return one scenario as an SVG with a bar for each contender."""
    runs = results[scenario.name]
    rows = sorted(runs, key=lambda name: best(runs[name]) or 0, reverse=not scenario.less_is_better)
    top = max(best(runs[name]) or 0 for name in rows) or 1
    width, height = LABEL + BAR + FIGURE, 44 + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img">',
        f"<title>{escape(scenario.title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="12" y="24" font-weight="600" fill="#1f2328">{escape(scenario.title)} ({scenario.unit})</text>',
    ]
    for index, name in enumerate(rows):
        value = best(runs[name]) or 0
        y = 38 + index * ROW
        colour = "#2f6f4f" if name.startswith("this project") else "#a9b4bd"
        length = max(value / top * BAR, 1)
        parts.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end" fill="#1f2328">{escape(name)}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y + 2}" width="{length:.1f}" height="{ROW - 7}" rx="3" fill="{colour}"/>')
        parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 15}" fill="#1f2328">{_number(value)}</text>')
    return "\n".join([*parts, "</svg>", ""])


#: The contenders that are compared with each other.
PAIRS = (
    ("this project on Daphne", "Channels on Daphne"),
    ("this project on Daphne, Redis", "Channels on Daphne, Redis pub/sub"),
    ("this project on Daphne, uvloop", "FastAPI on uvicorn"),
    ("this project on Daphne, uvloop", "Node ws"),
)


def ratios(results: Results) -> str:
    """Return a Markdown table of how many times as good this project is: by the rate, and by processor time."""
    letters = "ABCD"[: len(PAIRS)]
    lines = [f"- **{letter}**: {ours} : {theirs}" for letter, (ours, theirs) in zip(letters, PAIRS, strict=True)]
    lines += ["", "| | " + " | ".join(letters) + " |", "|---|" + "---:|" * len(PAIRS)]
    for scenario in SCENARIOS:
        runs = results.get(scenario.name, {})
        cells = [_ratio(scenario, runs.get(ours), runs.get(theirs)) for ours, theirs in PAIRS]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {scenario.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(
    scenario: Scenario, ours: Sequence[Mapping[str, Any]] | None, theirs: Sequence[Mapping[str, Any]] | None
) -> str:
    if ours is None or theirs is None:
        return "-"
    value = (best(ours) or 0) / (best(theirs) or 1)
    if scenario.less_is_better:
        return f"{1 / value:.1f}"
    cpu = best(ours, "cpu")
    return f"{value:.1f}" if cpu is None else f"{value:.1f} ({(best(theirs, 'cpu') or 0) / cpu:.1f})"


def sharing(results: Results) -> str:
    """Return a Markdown table of what a delivery costs in two processes and in one; empty where it was not measured."""
    runs = results.get("two-processes", {})
    lines = [
        "| CPU µs for each delivery | one process: 500 | one process: 1000 | two: 500 each "
        "| against 500 | against 1000 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in runs:
        half, whole = (
            statistics.median(run["details"][f"cpu_of_one_with_{part}"] for run in runs[name])
            for part in ("half", "all")
        )
        two = best(runs[name], "cpu") or 0.0
        cells = [_number(half), _number(whole), _number(two), f"{two / half:.2f}", f"{two / whole:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) if runs else ""


def beside_plain(results: Results) -> str:
    """Return a Markdown table of what a typed echo costs beside a plain one; empty where it was not measured."""
    runs = results.get("echo-typed", {})
    lines = ["| CPU µs for each message | plain | typed | more |", "|---|---:|---:|---:|"]
    for name in runs:
        plain = statistics.median(run["details"]["cpu_of_plain"] for run in runs[name])
        typed = best(runs[name], "cpu") or 0.0
        lines.append(f"| {name} | {_number(plain)} | {_number(typed)} | {typed / plain - 1:.0%} |")
    return "\n".join(lines) if runs else ""


def write_page(results: Results, machine: str, versions: Mapping[str, tuple[str, str]], page: Path) -> None:
    """Replace the measured part of the performance page, and write its pictures beside it."""
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    parts = [BEGIN, "", machine, "", "How many times as good, by the rate and (in brackets) by processor time:", ""]
    parts += [ratios(results), ""]
    for scenario in SCENARIOS:
        if not results.get(scenario.name):
            continue
        (images / f"bench-{scenario.name}.svg").write_text(bars(scenario, results))
        parts += [f"### {scenario.title}", "", f"![{scenario.title}](images/bench-{scenario.name}.svg)", ""]
        parts += [table(scenario, results), ""]
        if scenario.name == "two-processes":
            parts += [sharing(results), ""]
        if scenario.name == "echo-typed":
            parts += [beside_plain(results), ""]
    parts += ["### Who took part", ""]
    for name, (shown, command) in versions.items():
        parts += [f"**{name}**: {shown}", "", "```sh", _wrapped(command), "```", ""]
    parts += [END]
    text = page.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :]
    page.write_text(before + "\n".join(parts) + after)


def _wrapped(command: str) -> str:
    """Return a command line on lines of at most 100 characters, as a shell reads it."""
    lines = textwrap.wrap(command, 98, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(lines)
