"""``edgedx install --from``: verify the repository, fetch what is for this device, then install it as any bundle.

No step changes what is active before the ordinary installation does (`device.install.install`): golden samples, trial
and revert are the same, and so is the signature that a pinned key must have put on the bundle.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedx._version import __version__
from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.errors import BundleError, EdgedxError, GateRefused, ProfileError
from edgedx.core.files import lock
from edgedx.core.settings.profile import load_profiles
from edgedx.device.install.install import Installed, install_bundle
from edgedx.device.install.state import now
from edgedx.device.install.status import device_status
from edgedx.device.install.trust import check_policy, pinned
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.machine.match import match_profile

from .choose import Choice, candidates, choose
from .places import Record, Refusal, downloads, folder, read_box, read_pinned_root, read_record, write_record
from .source import Source, source_of
from .terms import Release, place_in_rings, require_tuf

if TYPE_CHECKING:
    from .client import Offer

Install = Callable[..., Installed]
_LASTING = (GateRefused, BundleError, ProfileError)
"""What a release fails with again unless something changes here."""


@dataclass(frozen=True)
class Updated:
    """What `install_from` did.

    Attributes
    ----------
    outcome : str
        ``installed``, or why nothing was: ``current``, ``later`` (not out to this device yet, or withdrawn), ``left``
        (was active and was left), ``refused`` (did not pass here before), ``older``.
    why : str
        In a sentence.
    release : Release
        That it is about.
    expires : str
        Until when the repository counts as fresh.
    installed : Installed or None
    """

    outcome: str
    why: str
    release: Release
    expires: str
    installed: Installed | None = None


def install_from(
    where: str,
    root: Path,
    *,
    name: str | None = None,
    profile: str | None = None,
    again: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    install: Install = install_bundle,
    **options: Any,
) -> Updated:
    """Bring a device to the newest release that is for it.

    Parameters
    ----------
    where : str
        ``https://...``, ``http://...`` or a folder.
    name, profile : str, optional
        Model, and device profile, of the release; see `candidates`.
    again : bool
        Take also what was left or did not pass here before.
    **options
        Of `install_bundle`.

    Raises
    ------
    DependencyMissing
        python-tuf is missing.
    GateRefused, InputOutputError, ProfileError
        See `client.look`, `candidates`, `fetch_release` and `install_bundle`. What was active stays so.
    """
    require_tuf()
    from .client import look

    source = source_of(where)
    read_pinned_root(root)
    box = read_box(root)
    keys = pinned(root)  # before anything is fetched over a slow line that could not be installed
    check_policy(keys, source.where, root, allow_unsigned=bool(options.get("allow_unsigned")))
    with lock(folder(root)):
        try:
            offer = look(root, source, sleep=sleep)
        except EdgedxError:
            _keep(root, asked=now(), outcome="unreachable-or-refused")
            raise
        _keep_offer(root, offer)
        status = device_status(root)
        offered = candidates(offer.releases, status, _machine(offer, status.active is None), name=name, profile=profile)
        facts = {"keys": sorted(key.id for key in keys), "edgedx": __version__}
        refused = {
            sha256: one
            for sha256, one in read_record(root).refused.items()
            if (sorted(one.keys), one.edgedx) == (facts["keys"], facts["edgedx"])
        }
        choice = choose(offered, status, place_in_rings(box.name), refused, again=again)
        _keep(root, offered=choice.release.facts.version, outcome=choice.verdict)
        if choice.verdict != "take":
            return Updated(choice.verdict, choice.why, choice.release, offer.expires)
        done = _take(root, source, choice, facts, sleep, install, options)
        _keep(root, outcome="installed")
    return Updated("installed", choice.why, choice.release, offer.expires, done)


def _machine(offer: Offer, empty: bool) -> str:
    """Profile of this machine, where it matters: nothing is installed, and there is a choice."""
    if not empty or len({one.facts.profile for one in offer.releases}) < 2:
        return "another machine"
    try:
        return match_profile(read_hardware(), load_profiles())[0].name
    except ProfileError:
        return "of no known profile"


def _take(
    root: Path,
    source: Source,
    choice: Choice,
    facts: Mapping[str, Any],
    sleep: Callable[[float], None],
    install: Install,
    options: Mapping[str, Any],
) -> Installed:
    from .fetch import fetch_release

    release = choice.release
    file = fetch_release(source, release, downloads(root), sleep=sleep)
    try:
        _compare(file, release)
        done = install(file, root, **options)
    except _LASTING as error:
        before = read_record(root)
        refusal = Refusal(title=release.title, why=_one_line(error, file, root), at=now(), **facts)
        write_record(root, before.model_copy(update={"refused": {**before.refused, release.sha256: refusal}}))
        raise
    file.unlink(missing_ok=True)  # its slot has it
    return done


def _compare(file: Path, release: Release) -> None:
    """The bundle must be what the metadata say it is: rings and versions were decided on that.

    Its own signature is asked for by the installation.
    """
    bundle = open_bundle(file)
    manifest, facts = bundle.manifest, release.facts
    inside = (manifest.name, manifest.version, manifest.profile, bundle.digest)
    if inside != (facts.name, facts.version, facts.profile, facts.digest):
        raise GateRefused(
            f"the repository calls it {release.title}, and it is {manifest.name} {manifest.version} for "
            f"{manifest.profile}",
            next_step="whoever holds the release key has signed something wrong: ask there; nothing was installed",
        )


def _one_line(error: EdgedxError, file: Path, root: Path) -> str:
    """The message without paths of folders that are gone by now."""
    text = error.message.replace(str(file), "the bundle")
    return re.sub(rf"{re.escape(str(root / 'slots'))}/[^\s:]+", "the bundle", text).removeprefix("the bundle: ")


def _keep(root: Path, **changes: Any) -> None:
    write_record(root, read_record(root).model_copy(update=changes))


def _keep_offer(root: Path, offer: Offer) -> None:
    known: Record = read_record(root)
    there = {one.sha256 for one in offer.releases}
    refused = {sha256: one for sha256, one in known.refused.items() if sha256 in there}  # the rest is gone for good
    _keep(
        root,
        asked=now(),
        root_version=offer.root_version,
        timestamp_version=offer.timestamp_version,
        expires=offer.expires,
        refused=refused,
    )
