"""``edgedx install``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedx.cli.common import command_line, warn
from edgedx.cli.options import Root

from . import show

if TYPE_CHECKING:
    from edgedx.device.install.install import Installed


def install(
    root: Root,
    bundle: Annotated[
        Path | None, typer.Argument(help="The .edgedx file; it may lie on a read-only stick. Or give --from.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Repository to take the newest release from: https://, http:// or a folder."),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle that will run here, e.g. fp32; its default unless given.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="With --from: name of the model; that of what is installed.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="With --from: device profile of the release; that of this device unless given.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --from: also what was left, or did not pass here before.")
    ] = False,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Install although this device trusts no key yet; recorded.")
    ] = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Install although a higher version was active; recorded.")
    ] = False,
    any_device: Annotated[
        bool, typer.Option("--any-device", help="Install although it was made for another kind of machine.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a bundle, test it on this machine with images that it brings along, and make it active.

    Example: edgedx install chest.edgedx --root /srv/edgedx

    The images, its golden samples, have outputs with them that the model must give here too. Whatever fails, the
    version that was active stays active. Exits with 1 when signature, version, golden samples or health say no, 2 when
    it was made for another machine, 3 when its runtime is missing, 5 when it is damaged.

    With --from, the newest release for this device comes from a repository that it trusts (`edgedx fleet trust`); what
    was cut off goes on where it ended. Nothing newer is no error.
    """
    from edgedx.core.errors import UsageError

    options = {"variant": variant, "allow_unsigned": allow_unsigned, "any_device": any_device}
    if (bundle is None) == (source is None):
        raise UsageError("give a bundle, or --from, and not both", next_step="edgedx install --help has an example")
    if source is not None:
        if allow_older:
            raise UsageError(
                "--from takes no older release", next_step="`edgedx rollback`, or install the older bundle by its file"
            )
        _from(source, root, json=json, name=model, profile=profile, again=again, **options)
        return
    if model or profile or again:
        raise UsageError("--model, --profile and --again go with --from", next_step="leave them out")
    from edgedx.device.install.install import install_bundle

    assert bundle is not None
    done = install_bundle(bundle, root, allow_older=allow_older, **options)  # type: ignore[arg-type]
    _warn(done)
    show.installed(done, json=json)


def _from(source: str, root: Path, *, json: bool, **options: object) -> None:
    from edgedx.cli.fleet.show import updated
    from edgedx.cli.stopping import at_work
    from edgedx.device.fleet.update import install_from

    with at_work(kept="what has come is kept, and what was active stays active"):
        done = install_from(source, root, **options)  # type: ignore[arg-type]
    if done.installed is not None:
        _warn(done.installed)
    updated(done, json=json)
    if done.installed is not None and not json:
        show.installed(done.installed, json=False)


def _warn(done: Installed) -> None:
    if done.signed_by is None:
        warn("UNSIGNED: nothing says who made this bundle, and no key is pinned")
    elif done.pinned_keys == 1:
        warn(
            f"this device trusts one key only, {done.signed_by}; if it is lost, the device must be visited. "
            f"Pin a second one: {command_line('keys', 'pin', 'FILE.pub', '--root', 'DIR')}"
        )
