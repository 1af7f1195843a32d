"""What the commands of this family print."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedx.cli.common import command_line, interval, line, print_json, print_table, remark, synthetic_note, tell

if TYPE_CHECKING:
    from edgedx.core.settings.recipe import Recipe
    from edgedx.lab.evidence.compare.pairs import ModelComparison
    from edgedx.lab.judge.evaluation import Evaluation

_COLUMNS = 4
"""Classes that fit beside one another on a terminal."""
_KINDS = {
    "auc_roc": "AUC-ROC",
    "auc_pr": "AUC-PR",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
}
_OVERALL = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "exact_match": "all findings right",
    "quadratic_kappa": "quadratic kappa",
    "ece": "ECE",
    "brier": "Brier score",
}


def evaluated(
    evaluation: Evaluation,
    members: Sequence[Evaluation],
    folder: Path,
    written: Sequence[Path],
    predictions: Path | None,
    *,
    json: bool,
) -> None:
    """The sentence first, then the figures, then the members of an ensemble."""
    if json:
        more = {"members": [member.to_dict() for member in members]} if members else {}
        print_json({**evaluation.to_dict(), **more, "written": [str(path) for path in written]})
        return
    _evaluation(evaluation)
    for member in members:
        line("member", f"{member.subject.path}: {member.sentence}")
    line("written", f"{folder}: {', '.join(path.name for path in written if path.parent == folder)}")
    if predictions is not None:
        line("predicted", predictions)
    synthetic_note(evaluation.subject.synthetic)
    line("next", _after(evaluation))


def _after(evaluation: Evaluation) -> str:
    subject = evaluation.subject
    if subject.name == "teacher":
        return command_line("compress", subject.run or "RUN")
    if subject.run is not None:
        return command_line("report", subject.run)
    return f"{command_line('gate', subject.path, '--data', 'FOLDER')}    (against what the bundle promises)"


def _evaluation(evaluation: Evaluation) -> None:
    from edgedx.core.stats.patients import images_of_patients

    figures, asked = evaluation.figures, evaluation.asked
    line("result", evaluation.sentence)
    drawn = "patients" if figures.patients < figures.images else "images"
    line(
        "judged",
        f"{images_of_patients(figures.images, figures.patients)} ({asked.where}); {evaluation.subject.ran}; "
        f"95 % intervals by {figures.resamples} resamples of {drawn}",
    )
    _classes(evaluation)
    overall = [f"{word} {_figure(figures.overall[name])}" for name, word in _OVERALL.items() if name in figures.overall]
    line("together", "; ".join(overall))
    leads = [evaluation.subject.positive] if evaluation.subject.positive else list(figures.classes)
    for name in leads:
        levels = {key.rpartition("_")[2]: value for key, value in figures.classes[name].items() if "_at_" in key}
        at = "; ".join(f"{_figure(value)} at specificity {level}" for level, value in levels.items())
        line("fixed", f"sensitivity for {name}: {at} (threshold chosen on these images)")
    if (sets := evaluation.sets) is not None:
        covered = ", ".join(f"{name} {share:.2f}" for name, share in sets["covered"].items() if share is not None)
        size = f"{sets['mean_size']:.2f} classes in a set"
        line("sets", f"promised {sets['promised']:.2f} of each class, covered {covered}; {size}")
    if evaluation.worth is not None:
        line("columns", evaluation.worth.sentence)
    _subgroups(evaluation)
    if reasons := Counter(reason for _, reason in asked.left_out).most_common():
        counts = "; ".join(f"{count} {reason}" for reason, count in reasons)
        line("left out", f"{len(asked.left_out)} images: {counts} (excluded.csv)")
    for warning in asked.warnings:
        line("note", warning)


def _classes(evaluation: Evaluation) -> None:
    """A column for each class; with many classes a row for each, and fewer intervals."""
    figures = evaluation.figures
    names = list(figures.classes)
    rows: list[list[str]] = []
    if len(names) <= _COLUMNS:
        titles = ("", *names, "macro mean")
        rows.append(["images with", *(str(figures.support[name]) for name in names), ""])
        for kind, word in _KINDS.items():
            cells = [_figure(figures.classes[name][kind]) for name in names]
            rows.append([word, *cells, _figure(figures.overall[f"macro_{kind}"])])
    else:
        titles = ("", "images with", *_KINDS.values())
        judged = [(name, str(figures.support[name]), figures.classes[name]) for name in names]
        macro = {kind: figures.overall[f"macro_{kind}"] for kind in _KINDS}
        for name, count, values in [*judged, ("macro mean", "", macro)]:
            cells = [_figure(values[kind]) for kind in _KINDS]
            short = [cell if "auc" in kind else cell.split(" ")[0] for kind, cell in zip(_KINDS, cells, strict=True)]
            rows.append([name, count, *short])
    print_table(titles, rows, right=True, width=130)


def _subgroups(evaluation: Evaluation) -> None:
    parts = evaluation.parts
    if parts.subgroups:
        titles = ("subgroup", "images", "patients", "AUC-ROC", "sensitivity", "specificity")
        rows = [
            [part.name, part.images, part.patients, *(_figure(value) for value in part.figures.values())]
            for part in parts.subgroups
        ]
        print_table(titles, rows, right=True, width=130)
    if parts.gap is not None:
        line("subgroups", parts.gap.sentence)
    if parts.not_judged:
        line("too small", "; ".join(f"{name} ({why})" for name, why in parts.not_judged))


def _figure(value: object) -> str:
    return "-" if value is None or str(value).startswith("nan") else str(value)


def reported(report: Any, written: Sequence[Path], recipe: Recipe, *, json: bool) -> None:
    """The summary of a report, and where it is."""
    from edgedx.lab.evidence.report.words import summary

    if json:
        print_json({**report.to_dict(), "written": [str(path) for path in written]})
        return
    for text in summary(report):
        tell(text)
    line("written", f"{', '.join(map(str, written))} ({written[0].stat().st_size / 1e6:.1f} MB)")
    synthetic_note(recipe.synthetic)
    line("next", f"open {shlex.quote(str(written[0]))} in a browser; it needs no network")


def baselines(tables: dict[str, dict[str, Any]], split: str) -> None:
    """Classical baselines, the best first."""
    titles = ("baseline", f"AUC on {split}", "sensitivity", "specificity", "chosen on val", "s")
    rows = []
    for name, record in sorted(tables.items(), key=lambda item: -(item[1]["metrics"][split]["auc"]["value"] or 0)):
        metrics = record["metrics"]
        chosen = ", ".join(f"{key} {value}" for key, value in metrics["chosen"].items())
        rates = [interval(metrics[split].get(key)) for key in ("sensitivity", "specificity")]
        seconds = f"{record['wall_seconds']:.0f}" + (" (finished)" if record["reused"] else "")
        rows.append([name, interval(metrics[split]["auc"]), *rates, chosen, seconds])
    print_table(titles, rows, width=130)


def compared(
    comparison: ModelComparison,
    folder: Path,
    written: Sequence[Path],
    trained: dict[str, Any],
    *,
    synthetic: bool,
    json: bool,
) -> None:
    """The sentences first, then the tables."""
    from edgedx.lab.evidence.compare.files import report_of
    from edgedx.lab.evidence.compare.words import about, fold_rows, image_rows, sentences, subject_rows

    if json:
        more = {"baselines": trained} if trained else {}
        print_json({**report_of(comparison), **more, "written": [str(path) for path in written]})
        return
    for sentence in sentences(comparison):
        line("result", sentence)
    line("compared", about(comparison))
    for header, rows in (subject_rows(comparison), image_rows(comparison), fold_rows(comparison)):
        if rows:
            print_table(header, rows, width=150)
    for note in comparison.notes:
        line("note", note)
    line("written", f"{folder}: {', '.join(path.name for path in written)}")
    synthetic_note(synthetic)


def crossvalidated(report: dict[str, Any], folder: Path, recipe: Recipe, *, json: bool) -> None:
    """Mean, standard deviation and each fold."""
    from edgedx.core.stats.patients import images_of_patients
    from edgedx.lab.evidence.compare.crossval import REPORT

    if json:
        print_json(report)
        return
    line("folds", f"{report['folds']}, by {report['grouped_by']}; mean, standard deviation and each fold")
    for name, found in report["subjects"].items():
        pooled = found["pooled"]
        tell(f"{name}: {images_of_patients(pooled['images'], pooled['patients'])}")
        for figure, mean in found["mean"].items():
            each = " ".join(f"{value:.3f}" for value in found["by_fold"][figure])
            tell(f"  {figure.replace('_', ' '):<28} {mean:.3f} sd {found['sd'][figure]:.3f}   {each}")
        tell(f"  {'accuracy, all folds together':<28} {interval(pooled['overall']['accuracy'])}")
    for name, found in report["against_teacher"].items():
        less = "; ".join(f"{key.replace('_', ' ')} {one['mean']:+.3f} sd {one['sd']:.3f}" for key, one in found.items())
        tell(f"{name} less its teacher, by fold: {less}")
    synthetic_note(recipe.synthetic)
    line("written", f"{folder} ({REPORT}, out-of-fold-*.csv, folds/)")


def robustness(report: dict[str, Any], folder: Path, written: Sequence[Path], run: Path | None, *, json: bool) -> None:
    """AUC by corruption and strength, and how well foreign images are noticed, model by model."""
    from edgedx.lab.evidence.robustness.files import HEADER, foreign_rows, rows, summary

    if json:
        print_json({**report, "written": [str(path) for path in written]})
        return
    for text in summary(report):
        tell(text)
    for name in report["foreign_missing"]:
        remark(f"foreign set {name} is not here, so it was left out")
    for model in report["models"]:
        clean = model["clean"]
        least = f", least covered class {min(clean['covered'].values()):.2f}" if "covered" in clean else ""
        title = f"{model['name']}: AUC by strength; clean {clean['auc']['value']:.3f}, ECE {clean['ece']:.3f}{least}"
        print_table(HEADER, rows(model), title=title, right=True, width=110)
        header, lines = foreign_rows(model)
        print_table(header, lines, title=f"{model['name']}: foreign images told from its own", right=True, width=110)
    line("written", f"{folder}: {', '.join(path.name for path in written)}")
    synthetic_note(report["synthetic"])
    line("next", f"{command_line('report', run or 'RUN')}    (puts it into the report)")


def explained(explanations: Any, folder: Path, written: Sequence[Path], *, synthetic: bool, json: bool) -> None:
    """Tables first, then what to know before believing them."""
    from edgedx.core.stats.patients import images_of_patients
    from edgedx.lab.evidence.explain.files import notes, to_dict

    if json:
        drawn = [str(path) for path in written if path.suffix == ".png"]
        print_json({**to_dict(explanations, []), "pictures": drawn, "folder": str(folder)})
        return
    images, first = explanations.images, explanations.names[0]
    line(
        "explained",
        f"{images_of_patients(len(images), len(set(images.patients)))} ({images.where}), "
        f"{explanations.wanted or f'what {first} decides'}; {len(explanations.names)} models, "
        f"{explanations.seconds:.0f} s",
    )
    titles = ("", "method", f"rank correlation to {first}", "above", "shared top 10 %", "deletion", "insertion",
              "random weights")  # fmt: skip
    print_table(titles, _map_rows(explanations), width=130)
    line("above", f"maps of another image of the class by {first} itself; not above 0: nothing is shown")
    line("areas", "low is good for deletion, high for insertion, both against the random order")
    _places(explanations)
    if reasons := Counter(reason for _, reason in images.left_out).most_common():
        line("left out", f"{len(images.left_out)}: " + "; ".join(f"{count} {reason}" for reason, count in reasons))
    for note in notes(explanations):
        line("note", note)
    line("note", "not for diagnosis")
    line("written", f"{folder}: {', '.join(path.name for path in written)}")
    synthetic_note(synthetic)


def _places(explanations: Any) -> None:
    """How much of each map lies at the border and, where regions are known, in them."""
    from edgedx.lab.evidence.explain.methods import METHODS
    from edgedx.lab.evidence.explain.pointing_files import border_area, border_share, game

    titles = ["", "method", f"at the border ({border_area(explanations):.2f} of the area)"]
    if explanations.regions is not None:
        titles += ["points at the finding", "chance", "other image", "weight in it", "chance", "other image"]
    rows = []
    for key in explanations.maps:
        row = [key[0], METHODS[key[1]].title, _figure(border_share(explanations, key))]
        for name in ("pointing", "energy") if explanations.regions is not None else ():
            one = game(explanations, key, name) or {}
            chance = [f"{one[part].value:.2f}" if part in one else "-" for part in ("area", "other")]
            row += [_figure(one.get("value")), *chance]
        rows.append(row)
    print_table(tuple(titles), rows, width=130)


def _map_rows(explanations: Any) -> list[list[str]]:
    from edgedx.lab.evidence.explain.explain import CONTROL
    from edgedx.lab.evidence.explain.methods import METHODS

    rows = []
    sanity = {(check.model, check.method): check for check in explanations.sanity}
    for name in explanations.names:
        for method in explanations.methods:
            key = name, method
            if key in explanations.missing:
                rows.append([name, METHODS[method].title, "n/a", "", "", "", "", ""])
                continue
            alike = explanations.means(explanations.alike[key]) if key in explanations.alike else None
            area, checked = explanations.means(explanations.curves[key].areas()), sanity.get(key)
            above = explanations.above_others(key) if alike else None
            likeness = [str(alike["spearman"]), _figure(above), f"{alike['shared'].value:.2f}"] if alike else ["-"] * 3
            areas = [f"{area[kind].value:.3f}" for kind in ("deletion", "insertion")]
            random = ("passes" if checked.passes else "FAILS") if checked else "-"
            rows.append([name, METHODS[method].title, *likeness, *areas, random])
        blind = explanations.means(explanations.curves[name, CONTROL].areas())
        areas = [f"{blind[kind].value:.3f}" for kind in ("deletion", "insertion")]
        rows.append([name, "random order", "-", "-", "-", *areas, "-"])
    return rows


def bench(report: dict[str, Any], rows: list[dict[str, Any]], out: Path, how: str, *, json: bool) -> None:
    """The table of models, and where the picture is."""
    if json:
        print_json(report)
        return
    bench_rows(rows)
    tell(f"{how}, {report['machine']}")
    line("written", f"{out / 'bench.json'}, {out / 'pareto.png'}")


def bench_rows(rows: list[dict[str, Any]]) -> None:
    """The table of models."""
    titles = ("model", "AUC (95 %)", "sens.", "spec.", "MB", "P50", "P90", "P99 ms", "img/s", "pre ms", "all ms")
    cells = []
    for row in rows:
        times = row["inference"]
        short = [f"{row[key]['value']:.2f}" if row.get(key) else "-" for key in ("sensitivity", "specificity")]
        cells.append(
            [
                *(row["name"], interval(row["auc"]), *short, f"{row['megabytes']:.2f}"),
                *(f"{times[key]:.2f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
                *(f"{times['images_per_s']:.0f}", f"{row['preprocess']['p50_ms']:.1f}"),
                f"{row['end_to_end']['p50_ms']:.1f}",
            ]
        )
    print_table(titles, cells, right=True, width=120)


def device_record(record: dict[str, Any], path: Path, batch: int, *, json: bool) -> None:
    """One line for each model of each bundle."""
    if json:
        print_json(record)
        return
    for row in record["rows"]:
        times = row["latency"]
        text = (
            f"{times}: {row['why']}"
            if isinstance(times, str)
            else f"P50 {times['p50_ms']:.2f} ms, P99 {times['p99_ms']:.2f} ms, {times['provider']}"
        )
        tell(f"{row['bundle']} {row['variant']}  {text}")
    power = record["conditions"]["before"]["power_mode"] or "unknown"
    tell(f"batch {batch}, {record['machine']}, power mode {power}")
    line("written", f"{path}: read it, then send it to whom asked for it")
