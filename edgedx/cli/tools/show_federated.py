"""What `edgedx federated` prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedx.cli.common import command_line, interval, line, print_json, print_table, remark, synthetic_note, warn


def by_site(report: Mapping[str, Any], run: Path, *, json: bool, data: bool = True) -> None:
    """The report by site."""
    if json:
        print_json(report)
        return
    own = any("own_auc" in figures for figures in report["sites"].values())
    rows = []
    for name, figures in report["sites"].items():
        if "problem" in figures:
            rows.append([name, "-", "-", figures["problem"], *(["-"] if own else [])])
            continue
        cells = [interval(_figure(figures, prefix)) for prefix in ("", "own_")[: 2 if own else 1]]
        rows.append([name, figures["images"], figures["patients"], *cells])
    titles = ["site", "images", "patients", "AUC of the global model", *(["with its own layers"] if own else [])]
    print_table(titles, rows, width=100, title="On each site's own test images")
    combined = [one for one in report["rounds"] if one["combined"]]
    line("rounds", f"{len(combined)} of {len(report['rounds'])} combined")
    left = {
        (name, said["problem"])
        for one in report["rounds"]
        for name, said in one["sites"].items()
        if said.get("problem")
    }
    for name, problem in sorted(left):
        times = sum(one["sites"].get(name, {}).get("problem") == problem for one in report["rounds"])
        warn(f"{name} was left out of {times} rounds: {problem}")
    if report["privacy"]:
        spent = report["privacy"]
        line("privacy", f"epsilon {spent['epsilon']:.3g} at delta {spent['delta']:g}; protects {spent['protects']}")
    line("written", run / "federated.json")
    if data:
        line("next", command_line("compress", run))
    else:
        line("model", f"{run / 'global'}, without thresholds: each site's own run has those of its patients")
    synthetic_note(report["synthetic"])
    remark(report["note"])


def took_part(metrics: Mapping[str, Any], run: Path, synthetic: bool, *, json: bool) -> None:
    """A site's own teacher."""
    if json:
        print_json(metrics)
        return
    line("test AUC", f"{interval(metrics['test']['auc'])} on {metrics['test']['images']} images of this site")
    line("written", run / "teacher")
    line("next", command_line("compress", run))
    synthetic_note(synthetic)


def made(files: Mapping[str, Path], then: str, *, json: bool) -> None:
    """Files of a key or certificate."""
    if json:
        print_json({name: str(path) for name, path in files.items()})
        return
    for name, path in files.items():
        line(name, path)
    line("next", then)


def _figure(figures: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        "value": figures.get(f"{prefix}auc"),
        "low": figures.get(f"{prefix}low"),
        "high": figures.get(f"{prefix}high"),
    }
