"""``edgedx deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import check_choice, run_of, run_recipe, signing_keys
from edgedx.cli.options import AsJson, OfDevice, Overwrite
from edgedx.cli.stopping import run_at_work

from . import show


def deploy(
    run: Annotated[Path, typer.Argument(help="Run folder with a compressed model.")],
    target: Annotated[
        str | None, typer.Option(help="Kind of device: cpu, jetson or rtx; its profile says it unless given.")
    ] = None,
    device: OfDevice = None,
    sign: Annotated[
        list[Path] | None, typer.Option(help="Private key (`edgedx keys new`) to sign the bundle with; repeatable.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the bundle although the gate said no; the bundle records it.")
    ] = False,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Gate the compressed model and write the bundle: one file (.edgedx) that a device installs.

    Example: edgedx deploy runs/pneumonia-mnist --sign release-2026.key

    Example: edgedx deploy runs/pneumonia-mnist --target jetson

    The gate compares the model with its teacher. Exits with 1, and writes no bundle, when the model lost more than the
    recipe's budget. Put the bundle on a device with `edgedx push`, or from a USB stick with `edgedx install`.
    """
    from edgedx.core.bundle.manifest import open_bundle, sign_bundle
    from edgedx.core.settings.profile import TARGETS
    from edgedx.lab.run.run import Run
    from edgedx.lab.ship.deploy import deploy as work
    from edgedx.lab.ship.deploy import profile_to_deploy

    run = run_of(run)
    check_choice("--target", target, TARGETS)
    profile = profile_to_deploy(Run(run), device, target)
    keys = signing_keys(sign or [])  # asks for passwords before the work
    recipe = run_recipe(run, [])
    with run_at_work(run, run / "devices" / profile.name):
        record = work(recipe, run, profile, force=force, overwrite=overwrite)
        made = Path(record["metrics"]["bundle"])
        signatures = sign_bundle(made, keys) if keys else open_bundle(made).signatures
        record["metrics"] |= {"signatures": [one.key_id for one in signatures], "bytes": made.stat().st_size}
        show.deployed(record, recipe, json=json)
