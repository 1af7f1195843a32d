"""edgedx explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import print_json, synthetic_note

if TYPE_CHECKING:
    from edgedx.lab.evidence.explain.explain import Explanation

_METHODS = "gradcam,gradcam++,ig,lime,cam"


def explain(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Run (teacher, student and what ships), checkpoint folder, .onnx variant of a run, or .edgedx bundle. "
            "The first model is the reference."
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="Images from outside: a file, a folder, or a CSV (image, patient_id).")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the run's data set, without --images: test, val or train.")] = "test",
    run: Annotated[
        Path | None, typer.Option(help="Run whose data set to use, for a bundle that lies elsewhere.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images, drawn by --seed.")] = 200,
    methods: Annotated[str, typer.Option(help="Comma-separated, in the order of the pictures.")] = _METHODS,
    of: Annotated[
        str | None, typer.Option("--class", help="Class to explain; what the first model decides unless given.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Images to show side by side.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the images drawn, LIME's samples and the random weights.")] = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients for the intervals.")] = 1000,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    device: Annotated[str, typer.Option(help="Of PyTorch, for checkpoints: cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder for all that is written; RUN/explain unless given.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Heat maps of models side by side, how alike they look, and tests of whether the maps mean anything.

    Example: edgedx explain runs/pneumonia-mnist

    Example: edgedx explain runs/a/teacher runs/b/teacher --images inbox --class pneumonia --methods gradcam,ig

    Methods: gradcam and gradcam++ (checkpoints), ig (integrated gradients, checkpoints), lime (every model), cam (exact
    class activation maps, where the head is pooling and one layer). A method that a model cannot be asked by is n/a,
    with the reason. Figures: rank correlation and shared top tenth against the first model, deletion and insertion
    against a random order, and what is left of the maps with random weights (docs/explain.md). Stopped, the same
    command goes on where it was. Not for diagnosis.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.explain.explain import explain as make
    from edgedx.lab.evidence.explain.explain import parts_of
    from edgedx.lab.evidence.explain.files import to_dict, write_explanation
    from edgedx.lab.evidence.explain.images import of_files, of_split
    from edgedx.lab.evidence.explain.subjects import open_models

    if split not in ("train", "val", "test"):
        raise UsageError(f"--split {split}: no such split", next_step="test, val or train")
    chosen = _chosen(methods)
    subjects = open_models(models, run=run, threads=threads, device=device)
    first = subjects[0]
    if of is not None and of not in first.classes:
        raise UsageError(f"--class {of}: no such class", next_step=f"the classes are {', '.join(first.classes)}")
    shown = of_files(first, images, count, seed) if images is not None else of_split(first, split, count, seed)
    folder = out or (first.run.path if first.run else Path()) / "explain"
    parts = parts_of(folder, subjects, shown, wanted=of, seed=seed, device=device)
    found = make(subjects, shown, chosen, wanted=of, device=device, seed=seed, resamples=resamples, parts=parts)
    written = write_explanation(found, folder, pictures=pictures)
    parts.finish()
    if json:
        drawn = [path for path in written if path.suffix == ".png"]
        print_json({**to_dict(found, []), "pictures": [str(path) for path in drawn], "folder": str(folder)})
        return
    _print(found)
    typer.echo(f"written   {folder}: {', '.join(path.name for path in written)}")
    synthetic_note(first.synthetic)


def _chosen(methods: str) -> list[str]:
    import difflib

    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.explain.methods import METHODS

    chosen = list(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    for name in chosen:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"--methods {name}: no such method", next_step=f"{hint}There are {', '.join(METHODS)}")
    if not chosen:
        raise UsageError("--methods names none", next_step=f"--methods {_METHODS}")
    return chosen


def _print(found: Explanation) -> None:
    """Tables first, then what to know before believing them."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgedx.lab.evidence.explain.explain import CONTROL
    from edgedx.lab.evidence.explain.files import notes
    from edgedx.lab.evidence.explain.methods import METHODS

    images, first = found.images, found.names[0]
    typer.echo(
        f"explained {len(images)} images of {len(set(images.patients))} patients ({images.where}), "
        f"{found.wanted or f'what {first} decides'}; {len(found.names)} models, {found.seconds:.0f} s"
    )
    console = Console()
    if console.width < 120 and not console.is_terminal:
        console = Console(width=130)
    table = Table(box=None, pad_edge=False)
    titles = (
        "",
        "method",
        f"rank correlation to {first}",
        "shared top 10 %",
        "deletion",
        "insertion",
        "random weights",
    )
    for title in titles:
        table.add_column(title)
    sanity = {(one.model, one.method): one for one in found.sanity}
    for name in found.names:
        for method in found.methods:
            key = name, method
            if key in found.missing:
                table.add_row(*map(Text, [name, METHODS[method].title, "n/a"]))
                continue
            alike = found.means(found.alike[key]) if key in found.alike else None
            area, checked = found.means(found.curves[key].areas()), sanity.get(key)
            above = found.above_others(key) if alike else None
            cells = (
                [str(alike["spearman"]), _shown(above), f"{alike['shared'].value:.2f}"] if alike else ["-", "-", "-"]
            )
            cells += [f"{area['deletion'].value:.3f}", f"{area['insertion'].value:.3f}"]
            cells.append(("passes" if checked.passes else "FAILS") if checked else "-")
            table.add_row(*map(Text, [name, METHODS[method].title, *cells]))
        blind = found.means(found.curves[name, CONTROL].areas())
        cells = ["-", "-", "-", f"{blind['deletion'].value:.3f}", f"{blind['insertion'].value:.3f}", "-"]
        table.add_row(*map(Text, [name, "random order", *cells]))
    console.print(table)
    typer.echo(f"above     maps of another image of the class by {first} itself; not above 0: nothing is shown")
    typer.echo("areas     low is good for deletion, high for insertion, both against the random order")
    reasons = Counter(reason for _, reason in images.left_out).most_common()
    if reasons:
        typer.echo(f"left out  {len(images.left_out)}: " + "; ".join(f"{count} {reason}" for reason, count in reasons))
    for note in notes(found):
        typer.echo(f"note      {note}")
    typer.echo("note      not for diagnosis")


def _shown(value: object) -> str:
    return "-" if value is None or str(value).startswith("nan") else str(value)
