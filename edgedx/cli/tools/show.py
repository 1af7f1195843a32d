"""What the commands of this family print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgedx.cli.common import (
    command_line,
    line,
    print_json,
    print_recipe,
    print_table,
    printable,
    remark,
    synthetic_note,
    tell,
    warn,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from pydantic import BaseModel

    from edgedx.core.settings.profile import DeviceProfile
    from edgedx.core.settings.recipe import Recipe
    from edgedx.lab.data.start.check import DataCheck

_JETPACK = {
    "native": "edgedx runs on it as it is",
    "update": "update to 6.1 or newer first: sudo apt full-upgrade",
    "container": "its Python is too old: edgedx runs there in a container with Python 3.10 or newer",
    "unsupported": "edgedx does not run on it",
}
_MOST_REASONS = 8  # of exclusions that are listed; the table has all
_SHADES = {"ok": "green", "warning": "yellow", "missing": "red"}


def examined(examination: Any, *, json: bool) -> None:
    """Each thing that was looked for, and what to do where it is missing."""
    if json:
        print_json({"schema_version": 1, "fit": not examination.missing_required, **asdict(examination)})
        return
    from rich.text import Text

    rows = []
    for item in examination.findings:
        optional = item.status == "missing" and not item.required
        shade = "yellow" if optional else _SHADES[item.status]
        rows.append([item.name, item.value, Text("not there" if optional else item.status, style=shade), item.how])
    print_table(("", "found", "status", "what to do"), rows)


def profiles(listed: Sequence[DeviceProfile], *, json: bool) -> None:
    """One line for each profile."""
    if json:
        print_json({"schema_version": 1, "profiles": [profile.model_dump(mode="json") for profile in listed]})
        return
    rows = [
        [
            *(profile.name, profile.title, profile.target, profile.quantization.scheme),
            f"{profile.memory_gb:g}" if profile.memory_gb else "",
            "yes" if profile.supported else "no",
        ]
        for profile in listed
    ]
    print_table(("name", "device", "target", "INT8", "memory GB", "supported"), rows)


def profile(chosen: DeviceProfile, *, json: bool) -> None:
    """Every field with its meaning and source."""
    from edgedx.core.settings.jetpack import jetpack_support

    support = {release: jetpack_support(release) for release in chosen.jetpack}
    if json:
        print_json({"schema_version": 1, "profile": chosen.model_dump(mode="json"), "jetpack_support": support})
        return
    rows = [[key, value, meaning, chosen.source_of(key)] for key, value, meaning in _fields(chosen) if key != "sources"]
    print_table(("field", "value", "meaning", "source"), rows)
    for release, verdict in support.items():
        typer.echo(f"JetPack {printable(release)}: {_JETPACK[verdict]}")


def matched(chosen: DeviceProfile, reason: str, hardware: Any, *, json: bool) -> None:
    """The profile that fits, and how edgedx runs on this JetPack."""
    from edgedx.core.settings.jetpack import jetpack_support

    release = hardware.jetson.jetpack if hardware.jetson else None
    support = jetpack_support(release) if release else None
    if json:
        print_json(
            {
                "schema_version": 1,
                "profile": chosen.name,
                "reason": reason,
                "supported": chosen.supported,
                "unsupported_reason": chosen.unsupported_reason,
                "jetpack": release,
                "jetpack_support": support,
                "hardware": asdict(hardware),
            }
        )
        return
    typer.echo(printable(f"{chosen.name}: {reason}"))
    if release and support:
        typer.echo(printable(f"JetPack {release}: {_JETPACK[support]}"))
    if not chosen.supported:
        warn(chosen.unsupported_reason)


def _fields(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    from pydantic import BaseModel as Model

    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Model):
            yield from _fields(value, f"{prefix}{name}.")
        elif value is not None and value != []:
            yield prefix + name, _value(value), info.description or ""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def recipes(listed: Sequence[tuple[Recipe, Any, Path | None]], *, json: bool) -> None:
    """Title, data, licence and cost of each recipe, and where its data lies."""
    import shutil
    import sys
    import textwrap

    from edgedx.core.settings.cost import GPU, SOURCE

    if json:
        rows = [
            {
                "name": recipe.name,
                "title": recipe.title,
                "task": recipe.task.kind,
                "licences": recipe.licences,
                "origin": recipe.origin.model_dump(mode="json"),
                "data": None if place is None else str(place),
                "gpu_hours_estimated": None if cost is None else round(cost.gpu_hours, 2),
                "gpu_hours_arithmetic": None if cost is None else f"{cost.arithmetic}; one {GPU}, {SOURCE}",
            }
            for recipe, cost, place in listed
        ]
        print_json({"schema_version": 1, "recipes": rows})
        return
    width = max(len(recipe.name) for recipe, *_ in listed)
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000  # a program gets whole lines
    for recipe, cost, place in listed:
        typer.echo(printable(f"{recipe.name:<{width}} {recipe.title}"))
        page = recipe.origin.page or recipe.data.download
        facts = [f"HERE: {place}" if place else "not here"] if recipe.data.path else ["made by edgedx itself"]
        facts += [f"from {page}"] if page else []
        facts += [f"about {recipe.origin.disk_gb:g} GB"] if recipe.origin.disk_gb else []
        facts += [f"{cost.gpu_hours:.2g} h to train on one {GPU} (estimated)"] if cost else []
        for text in filter(None, (f"data: {recipe.licences['data']}", ", ".join(facts))):
            pad = " " * (width + 1)
            shown = textwrap.wrap(
                printable(text), screen, initial_indent=pad, subsequent_indent=pad, break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
            typer.echo("\n".join(shown))


def recipe_fields(rows: Sequence[tuple[str, str, str, str]], *, json: bool) -> None:
    """Every field of a recipe."""
    if json:
        names = ("key", "type", "default", "description")
        print_json({"schema_version": 1, "fields": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    for key, kind, default, description in rows:
        typer.echo(f"{key} ({kind}, default {default})\n    {description}")


def recipe(chosen: Recipe, cost: Any, *, json: bool) -> None:
    """A recipe with its defaults, as YAML."""
    from edgedx.core.settings.cost import GPU, SOURCE

    if json:
        print_json(chosen.model_dump(mode="json"))
        return
    if cost is not None:
        typer.echo(f"# about {cost.gpu_hours:.2g} GPU hours to train, estimated: {cost.arithmetic};")
        typer.echo(f"# one {GPU}, {SOURCE}")
    print_recipe(chosen)


def trial(ended: FrozenTrial, best: FrozenTrial | None) -> None:
    """One line for a trial that ended."""
    state = ended.state.name.lower().replace("complete", "ended")
    value = "" if ended.value is None else f" AUC on val {ended.value:.4f}"
    why = f": {ended.user_attrs['why']}" if "why" in ended.user_attrs else ""
    leader = f"; best {best.value:.4f} (trial {best.user_attrs['ticket']})" if best is not None else ""
    remark(f"trial {ended.user_attrs['ticket']} {state}{value}{why}{leader}")


def tuned(report: dict[str, Any], folder: Path, *, json: bool) -> None:
    """The best trial beside the recipe as it stands."""
    if json:
        print_json(report)
        return
    counts = report["trials"]
    line("trials", f"{counts['ended']} ended, {counts['pruned']} pruned, {counts['failed']} failed")
    best, plain = report["best"], report["as_it_stands"]
    if best is None:
        line("best", "none: no trial has ended yet; run it again to go on")
        return
    beside = f"; the recipe as it stands {plain['val_auc']:.4f}" if plain else ""
    line("best", f"AUC on val {best['val_auc']:.4f}, trial {best['trial']}{beside}")
    for key, value in best["values"].items():
        share = report["importance"].get(key)
        shown = f"{value:.4g}" if isinstance(value, float) else value
        line("", f"{key} = {shown}" + (f"  (importance {share:.2f})" if share is not None else ""))
    line("note", "the best of many trials is optimistic on val; judge it on test once, at the end")
    synthetic_note(report["synthetic"])
    line("written", f"{folder} (best.yaml, trials.csv, tune.json, tune.png, slices.png)")
    line("next", command_line("finetune", folder / "best.yaml"))


def collected(house: Any, *, json: bool) -> None:
    """A wheelhouse, and how it gets onto a device."""
    if json:
        print_json({**house.record, "folder": str(house.folder), "bytes": house.bytes})
        return
    line("wheelhouse", f"{house.folder}: {len(house.files)} wheels, {house.bytes / 1e6:.1f} MB, for {house.target}")
    line("next", command_line("push", "BUNDLE", "USER@HOST", "--wheelhouse", house.folder))
    line("", "or by hand, as docs/offline-install.md says")


def demonstrated(report: dict[str, Any], out: Path, recipe: Recipe, *, json: bool) -> None:
    """What the flow gave: models beside one another, the gate, and one result."""
    from edgedx.cli.evidence.show import bench_rows
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE
    from edgedx.lab.demo_page import page_command

    if json:
        print_json(report)
        return
    summary, example = report["scan"], report["example"]
    typer.echo()
    bench_rows(report["bench"]["rows"])
    machine = report["bench"]["machine"]
    tell(f"batch 1, {recipe.bench.threads} thread(s), {machine}; intervals are 95 % bootstrap")
    line("gate", report["deploy"]["gate"]["sentence"])
    line("model", report["deploy"]["default"]["reason"])
    line("picture", out / "bench" / "pareto.png")
    counts = ", ".join(f"{summary[name]} {name}" for name in ("done", "refused", "quarantined"))
    line("scanned", counts)
    probabilities = ", ".join(f"{name} {value:.2f}" for name, value in example["prediction"]["probabilities"].items())
    line("example", f"{example['source']['name']}: {example['prediction']['label']} ({probabilities})")
    synthetic_note(recipe.synthetic)
    tell(NOT_A_MEDICAL_DEVICE)
    again = command_line("scan", report["inbox"], "--bundle", report["installed"], "--out", "results", "--once")
    tell(f"done in {report['seconds']} s; next: {again}")
    line("page", page_command(out))


def data_check(report: DataCheck, recipe: str, *, json: bool) -> None:
    """What was found in a data set: problems, counts, exclusions, duplicates, warnings."""
    if json:
        print_json(report.to_dict())
        return
    for problem in report.problems:
        line("problem", problem.message)
        if problem.next_step:
            line("", problem.next_step)
    if report.images:
        line("data", f"{report.patients}; {report.listed - report.images} of {report.listed} left out")
        width = max(map(len, report.classes))
        for name, counts in report.classes.items():
            by_split = ", ".join(f"{split} {count}" for split, count in counts.items())
            line("", f"{name:<{width}} {sum(counts.values()):>6}  {by_split}")
        sizes = list(report.sizes.items())
        more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
        line("sizes", ", ".join(f"{size}: {count}" for size, count in sizes[:3]) + more)
    for number, (reason, count) in enumerate(report.excluded.items()):
        line("left out" if not number else "", f"{count:>6}  {reason}")
        if number == _MOST_REASONS and len(report.excluded) > _MOST_REASONS + 1:
            line("", f"and {len(report.excluded) - number - 1} further reasons: excluded.csv")
            break
    if report.near_duplicates.get("groups"):
        near = report.near_duplicates
        line("alike", f"{near['images']} images in {near['groups']} groups of near-duplicates, kept on one side")
    for warning in report.warnings:
        line("warning", warning)
    sheets = sum(path.suffix == ".png" for path in report.files)
    names = [path.name for path in report.files if path.suffix != ".png"]
    folder = report.files[0].parent if report.files else None
    line("written", f"{folder}: {', '.join(names)}, {sheets} contact sheets" if folder else "nothing")
    after = f"; next: {command_line('finetune', recipe)}" if report.good else ""
    line("good" if report.good else "not good", f"in {report.seconds:.0f} s{after}")
