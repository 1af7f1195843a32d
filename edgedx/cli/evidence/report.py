"""``edgedx report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import check_choice, run_of, run_recipe
from edgedx.cli.options import AsJson, OfDevice, Resamples, ValOrTest
from edgedx.cli.stopping import NOTHING, at_work

from . import show


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. runs/pneumonia-mnist.")],
    device: OfDevice = None,
    split: ValOrTest = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="The page, .html; RUN/report.html unless given. A .md and a .json are written beside it."),
    ] = None,
    with_: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="Folder of crossval, compare, robustness, explain, bench or tune; a scanner's --out, or what "
            "`edgedx monitor --json` printed; repeatable.",
        ),
    ] = None,
    patient_images: Annotated[
        bool, typer.Option("--patient-images", help="Put misclassified images, which are of patients, into the page.")
    ] = False,
    resamples: Resamples = 1000,
    json: AsJson = False,
) -> None:
    """Write one page about a run: data, teacher beside the model that is used, curves, gate, subgroups, model card.

    Example: edgedx report runs/pneumonia-mnist --out report.html

    The page is one HTML file that fetches nothing: it opens from a USB stick, on a phone and on paper. What other
    commands found is taken in from RUN/robustness, RUN/explain, RUN/comparison, RUN/bench, RUN-crossval and RUN-tune,
    and from the folders given --with.
    """
    from edgedx.lab.evidence.report.collect import collect
    from edgedx.lab.evidence.report.files import write_report
    from edgedx.lab.evidence.report.sections import find_evidence

    check_choice("--split", split, ("test", "val"))
    run = run_of(run)
    recipe = run_recipe(run, [])
    with at_work(run, NOTHING):
        content = collect(recipe, run, split=split, device=device, resamples=resamples)
        evidence = find_evidence(run, with_ or [])
        written = write_report(content, out or run / "report.html", images=patient_images, evidence=evidence)
        show.reported(content, written, recipe, json=json)
