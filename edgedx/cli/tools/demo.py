"""``edgedx demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedx.cli.common import keep_recipe, profile_for, remark
from edgedx.cli.options import AsJson
from edgedx.cli.stopping import at_work

from . import show


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that it makes.")] = Path("demo"),
    recipe: Annotated[
        str | None, typer.Option(help="Recipe; PneumoniaMNIST where it can be had, else phantom.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over instead of reusing finished stages.")
    ] = False,
    page: Annotated[
        bool | None,
        typer.Option("--page/--no-page", help="At the end, the page on its results; in a terminal unless given."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run the whole flow in a few minutes: fine-tune, compress, deploy, bench, scan; then the page of a clinic's box.

    Example: edgedx demo

    Data: PneumoniaMNIST below EDGEDX_DATA or in the cache, else its official download, else generated phantoms.
    """
    import shutil
    import time
    from functools import partial

    from edgedx.core.settings.recipe import load_recipe
    from edgedx.lab.demo import QUICK, demo_recipe, run_demo
    from edgedx.lab.run.kept import kept

    begun = time.monotonic()
    say = partial(_step, begun)
    chosen = load_recipe(recipe, QUICK) if recipe else demo_recipe(say)
    if overwrite:  # what a demo makes, and nothing else: --out may name a folder that holds more
        for name in ("run", "device", "bench", "inbox", "results"):
            shutil.rmtree(out / name, ignore_errors=True)
    run = out / "run"
    with at_work(run, lambda: kept(run), begun=lambda: True):
        report = run_demo(chosen, out, profile_for("this"), say)
        keep_recipe(run, chosen)
        summary, example = _scan(out, Path(report["installed"]), Path(report["inbox"]))
        report |= {"scan": summary, "example": example, "seconds": round(time.monotonic() - begun)}
        show.demonstrated(report, out, chosen, json=json)
    if page or (page is None and not json and _sits_there()):
        _show_page(out)


def _sits_there() -> bool:
    """Whether somebody is at a terminal, and the page can be served: nobody else would end it."""
    import sys
    from importlib.util import find_spec

    return sys.stdin.isatty() and sys.stdout.isatty() and find_spec("starlette") is not None


def _show_page(out: Path) -> None:
    from edgedx.cli.clinic.show import opened
    from edgedx.lab.demo_page import show_page

    remark("the page of a clinic's box, on these results; a scanner reads what you send to it")
    show_page(out, lambda where: opened(where, json=False))


def _step(begun: float, text: str) -> None:
    import time

    remark(f"[{time.monotonic() - begun:4.0f} s] {text}")


def _scan(out: Path, bundle: Path, inbox: Path) -> tuple[dict[str, int], dict[str, Any]]:
    """Scan the demo's folder afresh; returns the counts and one result."""
    import json
    import shutil

    from edgedx.device.operation.serving import serve
    from edgedx.device.scanner.scanner import Options

    results = out / "results"
    shutil.rmtree(results, ignore_errors=True)
    with serve(inbox, bundle, results, options=Options(settle=0.2)) as scanner:
        counts = scanner.run_once()
        first = next(item for item in scanner.journal.items() if item.status == "done")
        example = json.loads(scanner.publisher.path_of(first.key).read_text(encoding="utf-8"))
    return counts, example
