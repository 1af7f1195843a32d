"""What `edgedx update` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedx.cli.common import command_line, interval, line, print_json, print_table, synthetic_note, warn

if TYPE_CHECKING:
    from edgedx.core.settings.recipe import Recipe


def updated(report: dict[str, Any], run: Path, recipe: Recipe, *, json: bool) -> None:
    """What became of the answers, and what was decided."""
    if json:
        print_json(report)
        return
    _answers(report["data"], run)
    verdict = report.get("verdict")
    if verdict is None:
        line("next", "look at the lists above; then the same call without --check")
        return
    line("judged", f"on images that no model learned from, against {verdict['against']}")
    print_table(("AUC (95 %)", "images", "deployed", "updated", "won"), _rows(verdict), right=True, width=110)
    for one in verdict["sites"]:
        if one["auc"] is None:
            line("unjudged", f"{one['site']} ({one['images']} images): {one['why']}")
    gaps = verdict["fairness"]["largest_gaps"]
    if gaps:
        cells = [
            (
                {"auc_roc": "AUC"}.get(one["figure"], one["figure"]),
                f"{one['before']:.3f}",
                f"{one['after']:.3f}",
                interval(one["growth"]),
                f"{one['column']} {one['worst']}",
            )
            for one in gaps
        ]
        print_table(("largest gap in", "before", "after", "grew by", "worst"), cells, right=True, width=110)
    else:
        line("subgroups", "none is large enough to be compared: whether all are served alike is not known")
    word = "passed" if verdict["passed"] else "FORCED" if verdict["forced"] else "NO"
    line("update", f"{word}: {verdict['sentence']}")
    line("written", f"{run}: an ordinary run, version {report['version']}; {run / 'CHANGES.md'}")
    synthetic_note(recipe.synthetic)
    if verdict["passed"] or verdict["forced"]:
        line("next", command_line("deploy", run, "--device", report["device"], "--sign", "FILE"))
        line("or", f"{command_line('report', run)}    (with the page for change control)")


def _answers(data: dict[str, Any], run: Path) -> None:
    told, new, old = data["answers"], data["new"], data["old"]
    sites = ", ".join(sorted({one["site"] for one in data["files"]}))
    line("answers", f"{told['used']} of {told['images']} images of {sites} can be used")
    for one in data["files"]:
        if one["signed_by"] is None:
            line("unsigned", f"{one['file']}: labelled images, taken on your word")
        else:
            line("signed", f"{one['file']}: by {one['signed_by']}")
    for reason, count in told["excluded"].items():
        line("left out", f"{count}: {reason}")
    if told["agreed_after_seeing"]:
        line(
            "note",
            f"{told['agreed_after_seeing']} labels are the model's own, which people agreed with after seeing it",
        )
    if told["contradictions"]:
        line("look at", f"{told['contradictions']} contradictions: {run / 'data' / data['contradictions']}")
    if data["likely_wrong"]:
        files = " and ".join(str(run / "data" / name) for name in data["label_check"].split(", "))
        line("look at", f"{data['likely_wrong']} likely wrong labels, likeliest first: {files}")
        line(
            "",
            f"(models that never saw the image say {data['agreement']:.0%} of all labels too; where few, read the top)",
        )
    elif ", " not in data["label_check"]:
        line("unchecked", data["label_check"])
    line("new", f"{new['train']} to learn from, {new['val']} for thresholds, {new['test']} kept for judging")
    line("old", f"{old['train']} to learn from, {old['val']} for thresholds, {old['test']} to judge on")
    for warning in data["warnings"]:
        warn(warning)


def _rows(verdict: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, part in verdict["parts"].items():
        if part["figures"] is None:
            rows.append((name, str(part["images"]), "-", "-", "not judged"))
        else:
            rows.append((name, str(part["images"]), *_figures(part["figures"]["auc"])))
    for one in verdict["sites"]:
        if one["auc"] is not None:
            rows.append((f"  {one['site']}", str(one["images"]), *_figures(one["auc"])))
    return rows


def _figures(auc: dict[str, Any]) -> tuple[str, str, str]:
    drop = auc["drop"]
    won = (
        {"value": 0.0 - drop["value"], "low": 0.0 - drop["high"], "high": 0.0 - drop["low"]}
        if drop["value"] is not None
        else None
    )
    return interval(auc["teacher"]), interval(auc["student"]), interval(won)
