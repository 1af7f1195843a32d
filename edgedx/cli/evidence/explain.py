"""``edgedx explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import check_choice, torch_device
from edgedx.cli.options import SPLITS, AsJson, OfDevice, On, Resamples, Run, Split, Threads
from edgedx.cli.stopping import at_work

from . import show

_METHODS = "gradcam,gradcam++,ig,lime,cam"


def explain(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Run (teacher, student and the model that is used), checkpoint folder, .onnx model of a run, or "
            ".edgedx bundle. The first model is the reference."
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Images without labels instead of the run's: a file, a folder, or a CSV (image,patient_id)."),
    ] = None,
    split: Split = "test",
    run: Run = None,
    device: OfDevice = None,
    count: Annotated[int, typer.Option(min=1, help="Images, drawn by --seed.")] = 200,
    methods: Annotated[str, typer.Option(help="Comma-separated, in the order of the pictures.")] = _METHODS,
    of: Annotated[
        str | None, typer.Option("--class", help="Class to explain; what the first model decides unless given.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            help="Where the findings are: a folder of masks (IMAGE_mask.png, IMAGE_mask_1.png), or a CSV: "
            "image,left,top,width,height (pixels). Boxes that the run's table has are taken unless given."
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Images to show side by side.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the images drawn, LIME's samples and the random weights.")] = 0,
    resamples: Resamples = 1000,
    threads: Threads = 0,
    on: On = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder for all that is written; RUN/explain unless given.")] = None,
    json: AsJson = False,
) -> None:
    """Heat maps of models side by side, how alike they look, and tests of whether the maps mean anything.

    Example: edgedx explain runs/pneumonia-mnist

    Example: edgedx explain runs/a/teacher runs/b/teacher --images inbox --class pneumonia --methods gradcam,ig

    Example: edgedx explain runs/busi --regions data/busi

    Methods: gradcam and gradcam++ (checkpoints), ig (integrated gradients, checkpoints), lime (every model), cam (exact
    class activation maps, where the head is pooling and one layer). A method that a model cannot be asked by is n/a,
    with the reason. Figures: rank correlation and shared top tenth against the first model, deletion and insertion
    against a random order, what is left of the maps with random weights, how much of a map lies at the border, and,
    with --regions, whether it points there more than chance does (docs/explain.md). Stopped, the same command goes on
    where it was. Not for diagnosis.
    """
    from edgedx.lab.evidence.explain.explain import explain as make
    from edgedx.lab.evidence.explain.explain import parts_of
    from edgedx.lab.evidence.explain.files import write_explanation
    from edgedx.lab.evidence.explain.images import of_files, of_split
    from edgedx.lab.evidence.explain.regions import regions_of
    from edgedx.lab.evidence.explain.subjects import open_models

    check_choice("--split", split, SPLITS)
    on = torch_device(on)
    chosen = _chosen(methods)
    subjects = open_models(models, run=run, profile=device, threads=threads, device=on)
    first = subjects[0]
    check_choice("--class", of, first.classes)
    shown = of_files(first, images, count, seed) if images is not None else of_split(first, split, count, seed)
    known = regions_of(shown, regions, first.preprocess)
    folder = out or (first.run.path if first.run else Path()) / "explain"
    parts = parts_of(folder, subjects, shown, wanted=of, seed=seed, device=on)
    home = first.run.path if first.run else None
    with at_work(home, f"maps and curves made so far are in {folder}"):
        explanations = make(
            subjects, shown, chosen, wanted=of, regions=known, device=on, seed=seed, resamples=resamples, parts=parts
        )
        written = write_explanation(explanations, folder, pictures=pictures)
        parts.finish()
        show.explained(explanations, folder, written, synthetic=first.synthetic, json=json)


def _chosen(methods: str) -> list[str]:
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.explain.methods import METHODS

    chosen = list(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    for name in chosen:
        check_choice("--methods", name, list(METHODS), "method")
    if not chosen:
        raise UsageError("--methods names none", next_step=f"--methods {_METHODS}")
    return chosen
