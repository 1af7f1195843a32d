"""What other commands found about a run, for its report: cross-validation, tests, robustness, at a clinic ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import read_json
from edgedx.core.stats.metrics import Interval
from edgedx.lab.run.renew import UPDATE

from .monitored import monitored
from .section import Cell, Evidence, Folded, Headline, ReportSection, Table
from .update_section import interval as _interval
from .update_section import update_evidence

_SHOWN = {
    "auc_roc": "AUC-ROC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_sensitivity": "Sensitivity, macro",
    "macro_specificity": "Specificity, macro",
    "ece": "Calibration error (ECE)",
}
_FEW = 12
"""Sentences that a reader takes in."""
_MUCH = 0.05
"""AUC whose loss on worse images is a warning."""


def find_evidence(run: Path, named: Sequence[Path] = ()) -> list[Evidence]:
    """What lies in a run or beside it under the names that commands give, and in `named` folders.

    Raises
    ------
    UsageError
        A named folder holds nothing of the kind.
    """
    beside = [run, *(run / name for name in ("comparison", "robustness", "explain", "bench"))]
    beside = [run.with_name(f"{run.name}-crossval"), *beside, run.with_name(f"{run.name}-tune")]
    by_key: dict[str, Evidence] = {}
    for folder in (*beside, *named):
        inside = list(_read(folder))
        if not inside and folder in named:
            raise UsageError(
                f"{folder} holds nothing for a report",
                next_step=f"name a folder with one of {', '.join(_KINDS)}",
            )
        by_key |= {one.section.key: one for one in inside}  # what was named comes last, and counts
    return [by_key[key] for key in _ORDER if key in by_key]


def _read(folder: Path) -> Iterator[Evidence]:
    if folder.is_file():  # what `edgedx monitor --json` printed at a clinic, under any name
        files = [(folder, monitored)]
    else:
        files = [(folder / name, make) for name, make in _KINDS.items() if (folder / name).is_file()]
    for path, make in files:
        report = read_json(path)
        try:
            yield make(report, path.parent)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputOutputError(
                f"{path} is not what this edgedx writes ({type(error).__name__})",
                next_step="make it again, or move it away",
            ) from error


def _crossval(report: dict[str, Any], folder: Path) -> Evidence:
    subjects = report["subjects"]
    names = list(subjects)
    rows: list[list[Cell]] = [
        [word, *(f"{subjects[name]['mean'][key]:.3f} ± {subjects[name]['sd'][key]:.3f}" for name in names)]
        for key, word in _SHOWN.items()
    ]
    by = report["grouped_by"]
    areas = "; ".join(
        f"{name} {subjects[name]['mean']['auc_roc']:.3f} ± {subjects[name]['sd']['auc_roc']:.3f}" for name in names
    )
    text = (
        f"{report['folds']} folds by {by}: each image was judged once, by a model that had not seen its {by}. Mean and "
        "standard deviation over folds."
    )
    section = ReportSection(
        "crossval",
        "Cross-validation",
        headline=Headline(f"AUC over {report['folds']} folds: {areas}."),
        texts=[text],
        tables=[Table(["", *names], rows)],
    )
    return Evidence(section, report)


def _comparison(report: dict[str, Any], folder: Path) -> Evidence:
    rows: list[list[Cell]] = [
        [name, _interval(one["auc"]), _interval(one["accuracy"])] for name, one in report["subjects"].items()
    ]
    rows.sort(key=lambda row: -row[1].value if isinstance(row[1], Interval) else 0.0)
    pairs = report["pairs"]
    shown = sum(any((test["p_holm"] or 1) < 0.05 for test in pair["tests"]) for pair in pairs)
    section = ReportSection(
        "comparison",
        "Against other models",
        headline=Headline(f"In {shown} of {len(pairs)} pairs of models a difference is shown."),
        texts=[f"On {report['images']} images ({report['data']}); p-values after Holm."],
        tables=[Table(["", "AUC", "Accuracy"], rows)],
        folded=[Folded("Each pair, and what to know", [*report["sentences"][:_FEW], *report["notes"]])],
    )
    return Evidence(section, report)


def _robustness(report: dict[str, Any], folder: Path) -> Evidence:
    from edgedx.lab.evidence.robustness.files import PICTURE, foreign_rows, least_covered, summary, worst

    models = report["models"]
    names = [model["name"] for model in models]
    rows: list[list[Cell]] = [["none", *(_interval(model["clean"]["auc"]) for model in models)]]
    for name in report["corruptions"]:
        rows.append([f"{name}, mean of 5", *(f"{_mean(model, name):.3f}" for model in models)])
        rows.append([f"{name}, strongest", *(_interval(model["corrupted"][name][-1]["auc"]) for model in models)])
    tables = [Table(["corruption", *names], rows, "AUC on worse images")]
    covered = [model for model in models if "covered" in model["clean"]]
    if covered:
        classes = list(covered[0]["clean"]["covered"])
        cells: list[list[Cell]] = [
            [name, *(_share(model["clean"]["covered"][name]) for model in covered)] for name in classes
        ]
        cells.append(["classes in a set, mean", *(f"{model['clean']['set_size']:.2f}" for model in covered)])
        fewest = [min(least_covered(one[-1]) for one in model["corrupted"].values()) for model in covered]
        cells.append(["least covered, strongest corruption", *(f"{share:.2f}" for share in fewest)])
        promised = f"Coverage of conformal sets, promised {report['coverage_promised']:.0%}"
        tables.append(Table(["class", *(model["name"] for model in covered)], cells, promised))
    foreign = [
        Table(header, [list[Cell](line) for line in lines], model["name"])
        for model in models
        for header, lines in [foreign_rows(model)]
    ]
    name, strength, lost = worst(models[-1])
    section = ReportSection(
        "robustness",
        "Worse and foreign images",
        headline=Headline(
            f"{models[-1]['name']} loses most by {name} of strength {strength}: {lost:.3f} AUC.",
            "bad" if lost > _MUCH else "good",
        ),
        texts=summary(report),
        tables=tables,
        folded=[
            Folded(
                "How well foreign and corrupted images are told from the data set's own",
                [
                    "AUROC: 1 is perfect, 0.5 is guessing. FPR95: share of foreign images that pass where 95 % of the "
                    "own images do; 0 is perfect. Scores are explained under Words."
                ],
                foreign,
            )
        ],
    )
    return Evidence(section, report, [(folder / PICTURE, "AUC by strength of corruption, with 95 % intervals")])


def _explain(report: dict[str, Any], folder: Path) -> Evidence:
    rows: list[list[Cell]] = [
        [_which(one), _interval(one["spearman"]), _interval(one["shared"])] for one in report["fidelity"]
    ]
    tables = [Table(["", "Rank correlation", "Top 10 % shared"], rows, f"Maps against those of {report['reference']}")]
    checked = report.get("sanity", [])
    passed = sum(one["passes"] for one in checked)
    if checked:
        text = f"{passed} of {len(checked)} kinds of heat map depend on what was learned; the others show nothing."
        whole = passed == len(checked)
        headline = Headline(
            "All kinds of heat map depend on what the model learned." if whole else text, "good" if whole else "bad"
        )
    else:
        headline = Headline("No check by random weights was made: heat maps may show the image and not the model.")
    pictures = [(folder / one["file"], one["caption"], one["kind"]) for one in report["pictures"]]
    section = ReportSection(
        "explain",
        "Where the models look",
        headline=headline,
        texts=[f"Not for diagnosis. {report['notes'][0]}"] if report["notes"] else [],
        tables=tables if rows else [],
        folded=[
            Folded(
                "Each kind of map, and what to know",
                list(dict.fromkeys([*report["sentences"], *report["notes"][1:]])),
                [_sanity_table(checked)] if checked else [],
            )
        ],
    )
    return Evidence(
        section,
        report,
        [(path, caption) for path, caption, kind in pictures if kind != "image"],
        [(path, caption) for path, caption, kind in pictures if kind == "image"],
    )


def _which(one: dict[str, Any]) -> str:
    """Model and method, by the name that people know it by."""
    from edgedx.lab.evidence.explain.methods import METHODS

    method = str(one["method"])
    return f"{one['model']}, {METHODS[method].title if method in METHODS else method}"


def _sanity_table(checked: Sequence[dict[str, Any]]) -> Table:
    rows: list[list[Cell]] = [
        [_which(one), _interval(one["stages"][-1]["spearman"]), "yes" if one["passes"] else "NO"] for one in checked
    ]
    return Table(["", "rank correlation left", "depends on what was learned"], rows, "Maps with all weights random")


def _bench(report: dict[str, Any], folder: Path) -> Evidence:
    rows: list[list[Cell]] = []
    for one in report["rows"]:
        times = one.get("inference")
        auc = one.get("auc")
        rows.append(
            [
                str(one["name"]),
                f"{times['p50_ms']:.2f} / {times['p90_ms']:.2f}" if times else "not measured",
                f"{one['megabytes']:.2f} MB" if one.get("megabytes") else "-",
                _interval(auc) if auc else "-",
            ]
        )
    timed = [one for one in report["rows"] if one.get("inference")]
    fastest = min(timed, key=lambda one: float(one["inference"]["p50_ms"]), default=None)
    headline = fastest and Headline(f"Fastest: {fastest['name']}, {fastest['inference']['p50_ms']:.2f} ms (P50).")
    section = ReportSection(
        "bench",
        "Latency",
        headline=headline,
        texts=[f"Inference alone, measured on {report['machine']}."],
        tables=[Table(["model", "ms, P50 / P90", "file", "AUC"], rows)],
    )
    return Evidence(section, report)


def _tune(report: dict[str, Any], folder: Path) -> Evidence:
    counts, best, unchanged = report["trials"], report["best"], report["as_it_stands"]
    texts = [f"{counts['ended']} trials ended, {counts['pruned']} were pruned; judged by AUC on val, never on test."]
    headline = Headline("No trial has ended yet.", "bad")
    if best is not None:
        headline = Headline(
            f"The best trial reached {best['val_auc']:.4f}"
            + (f", the recipe as it stood {unchanged['val_auc']:.4f}." if unchanged else ".")
        )
        texts.append("The best of many is optimistic on val.")
    rows: list[list[Cell]] = [
        [key, f"{value:.4g}" if isinstance(value, float) else str(value), _share(report["importance"].get(key))]
        for key, value in (best["values"] if best else {}).items()
    ]
    section = ReportSection(
        "tune",
        "Search of hyper-parameters",
        headline=headline,
        texts=texts,
        tables=[Table(["key", "best value", "importance"], rows)] if rows else [],
    )
    return Evidence(section, report, [(folder / "tune.png", "AUC on val by trial")] if best else [])


def _mean(model: dict[str, Any], name: str) -> float:
    several = [float(one["auc"]["value"]) for one in model["corrupted"][name]]
    return sum(several) / len(several)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


_KINDS: dict[str, Callable[[dict[str, Any], Path], Evidence]] = {
    "crossval.json": _crossval,
    "comparison.json": _comparison,
    "robustness.json": _robustness,
    "explain.json": _explain,
    "bench.json": _bench,
    "tune.json": _tune,
    "monitor.json": monitored,
    UPDATE: update_evidence,
}
_ORDER = [name.partition(".")[0] for name in _KINDS]
