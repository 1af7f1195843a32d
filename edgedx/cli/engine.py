"""``edgedx engine``: TensorRT engines of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import print_json

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Build and list TensorRT engines of this machine."""


@app.command("build")
def build(
    bundle: Annotated[Path, typer.Argument(help="A .edgedx file, or an installed one such as DIR/current.")],
    variant: Annotated[str | None, typer.Option(help="Model to build; the bundle's default unless given.")] = None,
    dla: Annotated[
        int | None, typer.Option(min=0, help="Deep learning accelerator to build for, by number; else the GPU.")
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="Builder level; a lower one is quicker and needs less memory."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Longest time, after which the build is ended.")] = 1800.0,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build although an engine is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build the engine of a bundle on this machine, prove it with its golden samples, and let it serve from now on.

    Example: edgedx engine build /srv/edgedx/current

    `edgedx install` builds one for the GPU by itself. Exits with 1 when the engine computes other values, and with 3
    when TensorRT, the GPU, memory or time is missing.
    """
    from edgedx.device.install.active import open_any
    from edgedx.device.runtime.engine_cache import Choice, EngineCache
    from edgedx.device.runtime.prepare_engine import engines_folder
    from edgedx.device.runtime.serve_engine import serve_engine

    opened = open_any(bundle)
    choice = Choice(dla, level)
    done, difference = serve_engine(opened, variant=variant, choice=choice, seconds=seconds, rebuild=rebuild)
    path = EngineCache(engines_folder(opened.path)).path(done.key)
    report = done.report
    if json:
        from dataclasses import asdict

        print_json(
            {
                "schema_version": 1,
                "key": asdict(done.key),
                "origin": done.origin,
                "why": done.why,
                "bytes": len(done.plan),
                "golden_difference": difference,
                "path": str(path) if path.is_file() else None,
                "report": asdict(report) if report else None,
            }
        )
        return
    typer.echo(f"engine    {len(done.plan) / 1e6:.2f} MB, {done.key.precision}, from {_ORIGINS[done.origin]}")
    typer.echo(f"golden    logits differ by {difference:.2g} at most on this machine")
    if report is not None:
        typer.echo(f"built     in {report.seconds:.0f} s, {report.peak_mb:.0f} MiB, because {done.why}")
    if not path.is_file() and done.origin == "built":
        typer.echo("warning   it could not be kept: the next start builds it again", err=True)


_ORIGINS = {"cache": "the cache", "bundle": "the bundle", "built": "NVIDIA's builder"}


@app.command("list")
def list_engines(
    root: Annotated[Path, typer.Argument(help="Folder of the device that holds installed versions.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the engines that are kept below a device's root.

    Example: edgedx engine list /srv/edgedx
    """
    from dataclasses import asdict

    from edgedx.device.runtime.engine_cache import EngineCache

    rows: list[dict[str, Any]] = [
        {"file": path.name, "bytes": path.stat().st_size, "key": asdict(key) if key else None}
        for path, key in EngineCache(root / "engines").entries()
    ]
    if json:
        print_json({"schema_version": 1, "engines": rows})
        return
    for row in rows:
        key = row["key"]
        told = f"{key['precision']}, {key['runtime']} {key['runtime_version']}, {key['gpu']}" if key else "damaged"
        typer.echo(f"{row['file'][:16]}  {row['bytes'] / 1e6:8.2f} MB  {told}")
    if not rows:
        typer.echo(f"no engine below {root}", err=True)
