"""edgedx demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .bench import print_rows
from .common import keep_recipe, print_json, profile_for, synthetic_note


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that it makes.")] = Path("demo"),
    recipe: Annotated[
        str | None, typer.Option(help="Recipe; PneumoniaMNIST where it can be had, else phantom.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over instead of reusing finished stages.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """The whole way in a few minutes: fine-tune, compress --int8, deploy, bench, scan.

    Example: edgedx demo

    Data: PneumoniaMNIST below EDGEDX_DATA or in the cache, else its official download, else generated phantoms.
    """
    import shutil
    import time

    from edgedx.core.result import NOT_A_MEDICAL_DEVICE
    from edgedx.core.settings.recipe import load_recipe
    from edgedx.lab.demo import QUICK, demo_recipe, run_demo

    begun = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - begun:4.0f} s] {text}", err=True)

    chosen = load_recipe(recipe, QUICK) if recipe else demo_recipe()
    if overwrite:  # what a demo makes, and nothing else: --out may name a folder that holds more
        for name in ("run", "device", "bench", "inbox", "results"):
            shutil.rmtree(out / name, ignore_errors=True)
    report = run_demo(chosen, out, profile_for("this"), say)
    keep_recipe(out / "run", chosen)
    summary, example = _scan(out, Path(report["installed"]), Path(report["inbox"]))
    report |= {"scan": summary, "example": example, "seconds": round(time.monotonic() - begun)}
    if json:
        print_json(report)
        return
    typer.echo()
    print_rows(report["bench"]["rows"])
    typer.echo(f"batch 1, {chosen.bench.threads} thread(s), {report['bench']['machine']}; intervals are 95 % bootstrap")
    typer.echo(f"gate      {report['deploy']['gate']['sentence']}")
    typer.echo(f"variant   {report['deploy']['default']['reason']}")
    typer.echo(f"picture   {out / 'bench' / 'pareto.png'}")
    typer.echo(f"scanned   {summary['done']} done, {summary['refused']} refused, {summary['quarantined']} quarantined")
    chances = ", ".join(f"{name} {chance:.2f}" for name, chance in example["prediction"]["probabilities"].items())
    typer.echo(f"for one   {example['source']['name']}: {example['prediction']['label']} ({chances})")
    synthetic_note(chosen.synthetic)
    typer.echo(NOT_A_MEDICAL_DEVICE)
    again = f"edgedx scan {report['inbox']} --bundle {report['installed']} --out results --once"
    typer.echo(f"done in {report['seconds']} s; next: {again}")


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
