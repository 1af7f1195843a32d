"""edgedx report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json, run_of, run_recipe, synthetic_note


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. runs/pneumonia-mnist.")],
    split: Annotated[str, typer.Option(help="What to judge on: test or val.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="The page, .html; RUN/report.html unless given. Its twins are .md and .json.")
    ] = None,
    with_: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Folder of crossval, compare, robustness, explain, bench or tune; repeatable."),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Put misclassified images, which are of patients, into the page.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients for the intervals.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Write one page about a run: data, teacher beside what ships, curves, gate, subgroups and model card.

    Example: edgedx report runs/pneumonia-mnist --out report.html

    The page is one HTML file that fetches nothing: it opens from a USB stick, on a phone and on paper. What other
    commands found is taken in from RUN/robustness, RUN/explain, RUN/comparison, RUN/bench, RUN-crossval and RUN-tune,
    and from the folders given --with.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.report.collect import collect
    from edgedx.lab.evidence.report.files import write_report
    from edgedx.lab.evidence.report.sections import find_evidence
    from edgedx.lab.evidence.report.words import summary

    if split not in ("test", "val"):
        raise UsageError(f"--split {split}: no such split", next_step="test or val")
    run = run_of(run)
    recipe = run_recipe(run, [])
    found = collect(recipe, run, split=split, resamples=resamples)
    evidence = find_evidence(run, with_ or [])
    written = write_report(found, out or run / "report.html", images=images, evidence=evidence)
    if json:
        print_json({**found.to_dict(), "written": [str(path) for path in written]})
        return
    for text in summary(found):
        typer.echo(text)
    typer.echo(f"written   {', '.join(map(str, written))} ({written[0].stat().st_size / 1e6:.1f} MB)")
    synthetic_note(recipe.synthetic)
    typer.echo(f"next      open {written[0]} in a browser; it needs no network")
