"""``edgedx deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedx.cli.common import check_choice, run_of, run_recipe, signing_keys
from edgedx.cli.options import AsJson, Overwrite

from . import show

if TYPE_CHECKING:
    from edgedx.core.settings.profile import DeviceProfile


def deploy(
    run: Annotated[Path, typer.Argument(help="Run folder with a compressed model.")],
    target: Annotated[
        str | None, typer.Option(help="Check the kind of device: cpu, jetson or rtx; its profile says it unless given.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Check the device profile; the one that the run was compressed for unless given.")
    ] = None,
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
    from edgedx.lab.ship.deploy import deploy as work

    run = run_of(run)
    profile = _profile(run, target, device)
    keys = signing_keys(sign or [])  # asks for passwords before the work
    recipe = run_recipe(run, [])
    record = work(recipe, run, profile, force=force, overwrite=overwrite)
    made = Path(record["metrics"]["bundle"])
    from edgedx.core.bundle.manifest import open_bundle, sign_bundle

    signatures = sign_bundle(made, keys) if keys else open_bundle(made).signatures
    record["metrics"] |= {"signatures": [one.key_id for one in signatures], "bytes": made.stat().st_size}
    show.deployed(record, recipe, json=json)


def _profile(run: Path, target: str | None, device: str | None) -> DeviceProfile:
    """The profile that the run was compressed for, which --target and --device must not contradict."""
    from edgedx.cli.common import profile_for
    from edgedx.core.errors import ProfileError
    from edgedx.core.settings.profile import TARGETS, load_profile, usual_profile
    from edgedx.lab.run.run import compressed_folder
    from edgedx.lab.run.stage import read_record

    check_choice("--target", target, TARGETS)
    profile = load_profile(read_record(compressed_folder(run))["settings"]["profile"])
    wanted = profile_for(device) if device else profile
    if target is not None and wanted.target != target:
        if device:
            raise ProfileError(
                f"--device {wanted.name} is of target {wanted.target}, not {target}", next_step="leave one of them out"
            )
        wanted = usual_profile(target)
    if wanted.name != profile.name:
        raise ProfileError(
            f"{run} was compressed for {profile.name} (target {profile.target}), not for {wanted.name} "
            f"(target {wanted.target})",
            next_step=f"edgedx compress {run} --device {wanted.name} --overwrite, or another {wanted.target} device of "
            "`edgedx devices list`",
        )
    return profile
