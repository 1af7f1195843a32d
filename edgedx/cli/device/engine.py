"""``edgedx engine``: TensorRT engines of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show

app = typer.Typer(
    help="TensorRT engines: models compiled for this machine's NVIDIA GPU.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("build", short_help="Build and test the engine of a bundle.")
def build(
    bundle: Annotated[Path, typer.Argument(help="A .edgedx file, or an installed one such as DIR/current.")],
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle, e.g. fp16; its default unless given.")
    ] = None,
    dla: Annotated[
        int | None, typer.Option(min=0, help="Deep learning accelerator to build for, by number; else the GPU.")
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="TensorRT's builder level; a lower one is quicker and needs less memory."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds after which the build is ended.")] = 1800.0,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build although an engine is there.")] = False,
    json: AsJson = False,
) -> None:
    """Build the engine of a bundle on this machine, test it with images of the bundle, and use it from now on.

    Example: edgedx engine build /srv/edgedx/current

    `edgedx install` builds one for the GPU by itself. Exits with 1 when the engine computes other values than the
    bundle's golden samples say (images with the outputs that the model must give for them), and with 3 when TensorRT,
    the GPU, memory or time is missing.
    """
    from edgedx.device.install.active import open_any
    from edgedx.device.runtime.engine_cache import Choice, EngineCache
    from edgedx.device.runtime.prepare_engine import engines_folder
    from edgedx.device.runtime.serve_engine import serve_engine

    opened = open_any(bundle)
    choice = Choice(dla, level)
    done, difference = serve_engine(opened, variant=variant, choice=choice, seconds=timeout, rebuild=rebuild)
    show.engine(done, difference, EngineCache(engines_folder(opened.path)).path(done.key), json=json)


@app.command("list")
def list_engines(
    root: Annotated[Path, typer.Argument(help="The --root of `edgedx install`.")], json: AsJson = False
) -> None:
    """List the engines that a device keeps.

    Example: edgedx engine list /srv/edgedx
    """
    from edgedx.device.runtime.engine_cache import EngineCache

    show.engines(EngineCache(root / "engines").entries(), root, json=json)
