"""Figures and tables of `benchmarks/peers.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedx.core.errors import DataError
from edgedx.core.files import write_text
from edgedx.core.stats.cases import Cases, predictions_of_logits
from edgedx.core.stats.points import OperatingPoint
from edgedx.core.table import null_for_nan
from edgedx.lab.evidence.compare.compare import compare
from edgedx.lab.evidence.compare.lineup import Lineup
from edgedx.lab.evidence.compare.significance import AreaTest, holm, two_sided
from edgedx.lab.judge.figures import figures_with_intervals

if TYPE_CHECKING:
    from peers import Contest, Peer

SHIPPED = "int8-u8s8"
EDGEDX = "edgedx INT8"
RESAMPLES = 2000
BEGIN, END = "<!-- tables of benchmarks/peers.py: do not edit -->", "<!-- end of tables -->"
BUSY = """**The machine was busy with other work**: longer calls are interrupted more often, so medians would flatter
the quick. The last column is the fastest call instead; measure again on quiet cores before you build on it."""
_Z = 1.959964


def of_contest(
    contest: Contest, peers: Sequence[Peer], logits: Mapping[str, np.ndarray], times: Mapping[str, Any], load: float
) -> dict[str, Any]:
    """Everything about one set.

    Differences are a peer's AUC less that of edgedx's INT8 file on the same images. Of two classes p is DeLong's over
    groups; the macro mean of more has no such test: there p is the normal approximation of the paired bootstrap over
    groups, and DeLong's test of each class against the rest stands beside it. Holm's correction is over all peers of
    the set (and over its classes).
    """
    task, part = contest.recipe.task, contest.parts["test"]
    cases = Cases(
        part.names, part.patients, part.labels, [{} for _ in part.names], task.kind, task.classes, task.positive
    )
    likeliest = OperatingPoint(name="argmax", threshold={})  # a foreign model has no point chosen on val
    answers = {name: predictions_of_logits(cases, values, 1.0, likeliest) for name, values in logits.items()}
    paths = {one.name: str(one.path) for one in peers}
    lineup = Lineup(cases, answers, dict.fromkeys(answers, ""), paths, None, [], "test", False)
    pairs = {pair.second: pair for pair in compare(lineup, baseline=EDGEDX, resamples=RESAMPLES).pairs}
    p_values = {name: _p(pair) for name, pair in pairs.items()}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    rows = {}
    for peer in peers:
        found = figures_with_intervals(cases, answers[peer.name], resamples=RESAMPLES).overall
        row: dict[str, Any] = {
            "graph": peer.graph,
            "runtime": peer.runtime + ("" if peer.fused else ", 8-bit pairs computed in float"),
            "auc": found["auc_roc"].to_dict(),
            "balanced_accuracy": found["balanced_accuracy"].to_dict(),
            "megabytes": round(peer.megabytes, 3),
            "p50_ms": round(times[peer.name]["p50_ms"], 4),
            "min_ms": round(times[peer.name]["min_ms"], 4),
            "p50_over_edgedx": round(times[peer.name]["p50_ms"] / times[EDGEDX]["p50_ms"], 2),
            "fastest_over_edgedx": round(times[peer.name]["min_ms"] / times[EDGEDX]["min_ms"], 2),
            **peer.told,
        }
        if peer.name in pairs:
            row["less_edgedx"] = pairs[peer.name].auc.to_dict() | {
                "p": null_for_nan(p_values[peer.name]),
                "p_holm": null_for_nan(corrected[peer.name]),
                "delong_by_class": _by_class(pairs[peer.name]),
            }
        rows[peer.name] = row
    return {
        "title": contest.recipe.title,
        "size": list(contest.recipe.preprocess.size),
        "classes": len(task.classes),
        "images": {split: len(one) for split, one in contest.parts.items()} | {"calibration": len(contest.calibration)},
        "test_groups": len(set(part.patients)),
        "load_before_timing": round(load, 2),
        "failed": contest.failed,
        "models": rows,
    }


def _ranking(pair: Any) -> list[Any]:
    return [one for one in pair.tests if one.of == "ranking" and isinstance(one.found, AreaTest)]


def _p(pair: Any) -> float:
    tests = _ranking(pair)
    if len(tests) == 1:
        return float(tests[0].p)
    spread = (pair.auc.high - pair.auc.low) / (2 * _Z)
    return two_sided(pair.auc.value / spread) if spread > 0 else math.nan


def _by_class(pair: Any) -> dict[str, Any]:
    return {
        one.finding: {
            "difference": one.found.difference.value,
            "p": null_for_nan(one.p),
            "p_holm": null_for_nan(one.p_holm),
        }
        for one in _ranking(pair)
        if one.finding
    }


def show(name: str, found: Mapping[str, Any]) -> None:
    """For whoever waits."""
    print("\n".join([name, *_table(found), *(f"{key}: {value}" for key, value in found["failed"].items())]), flush=True)


def write_page(report: Mapping[str, Any], page: Path) -> None:
    """Put the tables between their marks; the words around them are written by people.

    Raises
    ------
    DataError
        The page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"{page} has not the marks {BEGIN} and {END}", next_step="put them where the tables belong")
    busy = any(_busy(one) for one in report["sets"].values())
    where = f"{report['machine']}, {'with' if report['vnni'] else 'without'} VNNI, {report['date']}"
    lines = [
        f"{where}; {', '.join(sorted({one for several in report['tools'].values() for one in several}))}.",
        *(line for name, why in report["not_installed"].items() for line in ("", f"{name} does not install: {why}")),
        *(["", BUSY] if busy else []),
    ]
    for name, found in report["sets"].items():
        images = found["images"]
        lines += ["", f"### {name}: {found['title']}", ""]
        lines += [
            f"{images['test']} test images of {found['test_groups']} groups, {found['classes']} classes, "
            f"{found['size'][0]} pixels; {images['calibration']} images to calibrate with.",
            "",
            *_table(found),
        ]
        lines += ["", *(f"{key} gave nothing: {value}" for key, value in found["failed"].items())]
    write_text(page, f"{before}{BEGIN}\n\n{chr(10).join(lines).rstrip()}\n\n{END}{after}")


def _busy(found: Mapping[str, Any]) -> bool:
    return bool(found["load_before_timing"] > 0.5)


def _table(found: Mapping[str, Any]) -> list[str]:
    time, key = ("fastest call", "fastest_over_edgedx") if _busy(found) else ("P50", "p50_over_edgedx")
    lines = [
        f"| model | AUC (95 %) | less edgedx's | p (Holm) | balanced accuracy (95 %) | MB | {time}, edgedx's = 1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found["models"].items():
        less = row.get("less_edgedx")
        difference = f"{less['value']:+.4f} ({less['low']:+.4f} to {less['high']:+.4f})" if less else ""
        chance = "" if not less or less["p_holm"] is None else f"{less['p']:.3f} ({less['p_holm']:.2f})"
        shown = f"**{name}**" if name == EDGEDX else name
        preset = row.get("preset", "default")
        shown += f" ({preset})" if preset not in ("default", "accurate", "max", "entropy") or "advised" in name else ""
        cells = [shown, _interval(row["auc"], 4), difference, chance, _interval(row["balanced_accuracy"], 3),
                 f"{row['megabytes']:.2f}", f"{row[key]:.2f}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _interval(found: Mapping[str, float], digits: int) -> str:
    low, high = (f"{found[end]:.{digits}f}" for end in ("low", "high"))
    return f"{found['value']:.{digits}f} ({low} to {high})"
