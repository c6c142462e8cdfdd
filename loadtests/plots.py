"""The pictures of docs/flow-control.md and docs/performance.md, from the figures of real runs.

    .venv/bin/python -m loadtests.limits --seconds 10 --proxy shardproxy --json /tmp/limits.json
    .venv/bin/python -m loadtests.adaptive --json /tmp/adaptive.json
    .venv/bin/python -m loadtests.compare --json /tmp/compare.json
    .venv/bin/python -m loadtests.plots --limits /tmp/limits.json --adaptive /tmp/adaptive.json
    .venv/bin/python -m loadtests.plots --compare /tmp/compare.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

from loadtests.adaptive import CAPACITY, HALVED_AT_S

IMAGES = Path(__file__).parents[1] / "docs" / "img"
STEP_S = 0.1
GREY, BLUE, RED = "#b8bec6", "#1f6fb4", "#c2452d"

COMPARED = {"shardproxy": BLUE, "haproxy": GREY, "envoy": "#6b7280"}


def limit(timeline: list[tuple[float, int, int]], to: Path) -> None:
    """Offered and admitted a second, in tenths of a second."""
    begun = timeline[0][0]
    offered, passed = Counter[int](), Counter[int]()
    for when, size, admitted in timeline:
        offered[int((when - begun) / STEP_S)] += size
        passed[int((when - begun) / STEP_S)] += admitted
    steps = range(max(offered))
    seconds = [step * STEP_S for step in steps]
    figure, axes = pyplot.subplots(figsize=(8, 3))
    axes.fill_between(seconds, [offered[step] / STEP_S for step in steps], color=GREY, label="offered", linewidth=0)
    axes.plot(seconds, [passed[step] / STEP_S for step in steps], color=BLUE, label="admitted")
    axes.axhline(500, color=RED, linewidth=1, linestyle="--", label="rate")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel("requests /s")
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, fontsize=8, ncols=3)
    axes.set_title("rate: 500/s, burst: 50; up to 2000/s offered to 4 workers", fontsize=10)
    _save(figure, to)


def adaptive(runs: dict[str, list[dict[str, Any]]], to: Path) -> None:
    """Goodput and latency, with and without; the limit."""
    figure, (goodput, latency, limits) = pyplot.subplots(3, 1, figsize=(8, 6), sharex=True)
    for name, color, label in (("without", GREY, "without"), ("adaptive", BLUE, "adaptive")):
        seconds = [one["second"] for one in runs[name]]
        goodput.plot(seconds, [one["goodput"] for one in runs[name]], color=color, label=label)
        latency.plot(seconds, [1000 * one["p99_s"] or None for one in runs[name]], color=color)
    last = seconds[-1]
    capacity = [(0, CAPACITY), (HALVED_AT_S, CAPACITY), (HALVED_AT_S, CAPACITY / 2), (last, CAPACITY / 2)]
    goodput.plot(*zip(*capacity, strict=True), color=RED, linewidth=1, linestyle="--", label="capacity")
    goodput.set_ylabel("goodput /s")
    goodput.legend(frameon=False, fontsize=8, ncols=3)
    latency.set_yscale("log")
    latency.set_ylabel("p99 ms")
    limits.step(seconds, [one["limit"] for one in runs["adaptive"]], color=BLUE, where="post")
    limits.set_ylabel("limit")
    limits.set_xlabel("seconds")
    for axes in (goodput, latency, limits):
        axes.spines[["top", "right"]].set_visible(False)
    goodput.set_title(f"{3 * CAPACITY:.0f}/s offered to an origin that can do {CAPACITY:.0f}/s, then half", fontsize=10)
    _save(figure, to)


def compare(summary: list[dict[str, Any]], to: Path) -> None:
    """CPU time of a request beside nginx's in the same round: medians, with the least and the greatest."""
    works = list(dict.fromkeys(row["work"] for row in summary))[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(works) + 1))
    for place, (name, color) in enumerate(COMPARED.items()):
        own = {row["work"]: row["ratio"] for row in summary if row["proxy"] == name and row["ratio"]}
        found = [(number, own[work]) for number, work in enumerate(works) if work in own]
        heights = [number + 0.25 - 0.25 * place for number, _ in found]
        middles = [ratio["median"] for _, ratio in found]
        reach = [[abs(ratio["median"] - ratio[end]) for _, ratio in found] for end in ("least", "greatest")]
        axes.barh(heights, middles, 0.22, xerr=reach, color=color, label=name, error_kw={"linewidth": 0.7})
    axes.axvline(1, color=RED, linewidth=1, linestyle="--", label="nginx")
    axes.set_yticks(range(len(works)), works)
    axes.set_xscale("log")
    ticks = (0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("CPU time of a request, x nginx (the less the better)")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    _save(figure, to)


def _save(figure: Any, to: Path) -> None:
    figure.tight_layout()
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, metadata={"Date": None})
    print(f"written: {to}")


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "shardproxy"  # the same figures give the same file
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", type=Path)
    parser.add_argument("--adaptive", type=Path)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--into", type=Path, default=IMAGES)
    options = parser.parse_args()
    if options.limits:
        limit(json.loads(options.limits.read_text())["timeline"], options.into / "limit.svg")
    if options.adaptive:
        adaptive(json.loads(options.adaptive.read_text()), options.into / "adaptive.svg")
    if options.compare:
        compare(json.loads(options.compare.read_text())["summary"], options.into / "compare.svg")
