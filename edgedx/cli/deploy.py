"""edgedx deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import print_json, run_of, run_recipe, synthetic_note
from .keys import signing_keys

if TYPE_CHECKING:
    from edgedx.core.bundle.signing import SigningKey


def deploy(
    run: Annotated[Path, typer.Argument(help="Run folder with a compressed model; with --to, a .edgedx file too.")],
    target: Annotated[
        str | None, typer.Option(help="cpu, jetson or rtx, instead of the name of a device profile.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device profile, where the run is compressed for several.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Ship although the gate said no; the bundle records it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    sign: Annotated[
        list[Path] | None, typer.Option(help="Private key of `edgedx keys new` to sign with; may be repeated.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Device to install it on over ssh: user@host, or a name of your ssh config.")
    ] = None,
    wheelhouse: Annotated[
        Path | None, typer.Option(help="What `edgedx wheelhouse` wrote; made now unless given or made before.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Labelled images to judge the device with: a folder per class, or a CSV.")
    ] = None,
    root: Annotated[str, typer.Option(help="Folder there, absolute or below its home folder.")] = "edgedx",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of ssh there.")] = None,
    identity: Annotated[Path | None, typer.Option(help="Private key for ssh.")] = None,
    ssh_config: Annotated[Path | None, typer.Option(help="Configuration of ssh, instead of your own.")] = None,
    python: Annotated[str | None, typer.Option(help="Python there, e.g. 3.10, where it has several.")] = None,
    pin: Annotated[
        list[Path] | None, typer.Option(help="Public key that the device is to trust from now on; with --to.")
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="With --to: install although no key is pinned there; recorded.")
    ] = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="With --to: install although a higher version was active; recorded.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the stage's record as JSON.")] = False,
) -> None:
    """Gate the compressed model and write the bundle (.edgedx) that a device installs; with --to, install it there.

    Example: edgedx deploy runs/pneumonia-mnist --target cpu

    With --to it copies wheels and bundle over ssh, installs them without internet, runs doctor, golden samples and,
    where labelled samples are given, the gate on the device. Exits with 1 when the model lost more than the
    recipe's budget, or when the device says no.
    """
    there = {"wheelhouse": wheelhouse, "root": root, "samples": samples, "port": port, "identity": identity,
             "ssh_config": ssh_config, "python": python, "pins": pin or [],
             "install_options": ["--allow-unsigned"] * allow_unsigned + ["--allow-older"] * allow_older}  # fmt: skip
    _only_with_to(to, {"--wheelhouse": wheelhouse, "--samples": samples, "--pin": pin, "--python": python,
                       "--port": port, "--identity": identity, "--ssh-config": ssh_config})  # fmt: skip
    keys = signing_keys(sign or [])  # asks for passwords before the work
    if to and run.is_file():
        _sign(run, keys)
        _push(run, to, json, {}, there)
        return
    from edgedx.lab.run.run import Run
    from edgedx.lab.ship.deploy import deploy as work
    from edgedx.lab.ship.deploy import profile_to_deploy

    run = run_of(run)
    recipe = run_recipe(run, [])
    profile = profile_to_deploy(Run(run), device, target)
    record = work(recipe, run, profile, force=force, overwrite=overwrite)
    made = Path(record["metrics"]["bundle"])
    record["metrics"] |= {"signatures": _sign(made, keys), "bytes": made.stat().st_size}
    if to:
        _push(Path(record["metrics"]["bundle"]), to, json, record, there)
        return
    if json:
        print_json(record)
        return
    metrics = record["metrics"]
    typer.echo(f"gate      {'passed' if metrics['gate']['passed'] else 'FORCED'}: {metrics['gate']['sentence']}")
    flips = metrics["gate"]["flips"]
    typer.echo(f"flips     {flips} of {metrics['gate']['images']} decisions differ: {metrics['gate']['flips_csv']}")
    typer.echo(f"variant   {metrics['default']['variant']}: {metrics['default']['reason']}")
    typer.echo(f"bundle    {metrics['bundle']} ({metrics['bytes'] / 1e6:.2f} MB)")
    typer.echo(f"signed    {', '.join(metrics['signatures']) or 'by nobody yet: edgedx keys sign BUNDLE --key FILE'}")
    for engine in metrics["engines"]:
        if "refused" not in engine:
            size = f"{engine['compressed_bytes'] / 1e6:.2f} MB, {engine['seconds']:.1f} s"
            typer.echo(f"engine    {engine['variant']} for SM {', '.join(engine['sm'])}: {size}")
    for warning in metrics["warnings"]:
        typer.echo(f"warning   {warning}", err=True)
    synthetic_note(recipe.synthetic)
    for step in metrics["on_the_device"]:
        typer.echo(f"next      {step}")


def _sign(bundle: Path, keys: list[SigningKey]) -> list[str]:
    """Sign a bundle that is written, new or from before; ids of all who have signed it."""
    from edgedx.core.bundle.manifest import open_bundle, sign_bundle

    signatures = sign_bundle(bundle, keys) if keys else open_bundle(bundle).signatures
    return [signature.key_id for signature in signatures]


def _only_with_to(to: str | None, options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value]
    if given and not to:
        from edgedx.core.errors import UsageError

        raise UsageError(f"{given[0]} is for --to", next_step="name the device: --to user@host")


def _push(bundle: Path, to: str, json: bool, record: dict[str, Any], there: dict[str, Any]) -> None:
    from .deploy_to import as_document, print_table, push_bundle

    done = push_bundle(bundle, to, **there)
    if json:
        print_json({**record, "device": as_document(done)})
    else:
        print_table(done)
    if done.verdict and not done.verdict.passed:
        typer.echo(f"error: the gate on {to} says no: {done.verdict.sentence}", err=True)
        raise typer.Exit(1)
