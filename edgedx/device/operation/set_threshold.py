"""Set, carry over and clear a site's own threshold: judged, confirmed, recorded in ROOT/audit.jsonl, then in force.

A scanner that runs keeps the threshold that it began with, as it keeps its bundle; it is restarted to take another.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgedx._version import __version__
from edgedx.core.bundle.local_point import (
    LocalPoint,
    LocalPoints,
    LocalThreshold,
    local_of,
    point_of,
    read_points,
    write_points,
)
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.core.files import private_files
from edgedx.device.install.active import chosen_slot, installed_at
from edgedx.device.install.slots import hold, open_slot
from edgedx.device.install.state import now
from edgedx.device.install.trust import pinned
from edgedx.device.threshold.evidence import Evidence, class_of
from edgedx.device.threshold.judge import Judged, judge_proposal, target_of
from edgedx.device.threshold.propose import Proposal, Target, propose

from .audit_file import AuditFile

CONFIGURED = {"event": "110113", "type": "110131", "meaning": "Software Configuration"}
_PATIENCE_S = 10.0
EvidenceOf = Callable[[Bundle], Evidence]


@dataclass(frozen=True)
class Prepared:
    """A judged threshold that waits for its confirmation.

    Attributes
    ----------
    bundle : Bundle
        The active one, at which it was judged.
    """

    root: Path
    bundle: Bundle
    judged: Judged

    @property
    def value(self) -> str:
        """The threshold as a person types it to confirm."""
        return repr(self.judged.proposal.threshold)


def open_active(root: Path) -> Bundle:
    """The active bundle of a device.

    Raises
    ------
    UsageError
        It is a bundle file or one slot: a threshold belongs to a device, and to what is active on it.
    """
    installed = installed_at(root)
    if installed is None:
        raise UsageError(
            f"{root} is no device's folder: a threshold is set where a bundle is installed",
            next_step="name the --root that `edgedx install` was given",
        )
    return open_slot(installed[0], chosen_slot(installed[0]), pinned(installed[0]))


def user() -> str:
    """Name of the user of this process, for the record: as the system knows it, not the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def prepare(root: Path, evidence_of: EvidenceOf, finding: str | None, target: Target, *, by: str = "") -> Prepared:
    """Choose a threshold on labelled images, and judge it on them. Nothing is written.

    Raises
    ------
    GateRefused
        The gate says no.
    DataError
        See `propose`.
    UsageError
        See `class_of`.
    """
    bundle = open_active(root)
    name = class_of(bundle.manifest, finding)
    evidence = evidence_of(bundle)
    proposal = propose(evidence.finding(name), target, point_of(bundle).threshold.get(name))
    return _judged(bundle, evidence, proposal, by)


def prepare_carry_over(root: Path, evidence_of: EvidenceOf, finding: str | None, *, by: str = "") -> Prepared:
    """Take the value that was chosen for the bundle before, and judge the active one at it on the same images.

    Raises
    ------
    DataError
        Nothing was chosen for a bundle before, or these are other images than it was chosen on.
    GateRefused
        What it was chosen for is not shown with the active bundle.
    """
    bundle = open_active(root)
    name = class_of(bundle.manifest, finding)
    assert bundle.root is not None
    earlier = [one for one in read_points(bundle.root).points if one.bundle != bundle.digest and name in one.thresholds]
    if not earlier:
        raise DataError(
            f"no threshold for {name} was chosen for another bundle here", next_step="`edgedx threshold set ROOT ...`"
        )
    old = earlier[0].thresholds[name]
    evidence = evidence_of(bundle)
    if evidence.digest != old.evidence:
        raise DataError(
            f"these are not the images and labels that {old.value!r} was chosen on for {earlier[0].model}",
            next_step="give the same, or choose anew on these: `edgedx threshold set ROOT --sensitivity ...`",
        )
    before = point_of(bundle).threshold.get(name)
    at_value = propose(evidence.finding(name), Target("given", old.value), before)
    prepared = _judged(bundle, evidence, replace(at_value, target=target_of(old)), by)
    return replace(prepared, judged=_marked(prepared.judged, name, old, earlier[0].bundle))


def _judged(bundle: Bundle, evidence: Evidence, proposal: Proposal, by: str) -> Prepared:
    assert bundle.root is not None
    judged = judge_proposal(bundle, evidence, proposal, local_of(bundle), by=by or user(), at=now(), edgedx=__version__)
    judged.require()
    return Prepared(bundle.root, bundle, judged)


def _marked(judged: Judged, name: str, old: LocalThreshold, digest: str) -> Judged:
    """With where the value comes from, and what it was chosen for there."""
    origin = {"carried_from": digest, "rule": old.rule, "words": old.words}
    entry = judged.point.thresholds[name].model_copy(update=origin)
    point = judged.point.model_copy(update={"thresholds": {**judged.point.thresholds, name: entry}})
    return replace(judged, point=point)


def set_local(prepared: Prepared, confirmed: str) -> LocalPoint:
    """Put a prepared threshold in force.

    Parameters
    ----------
    confirmed : str
        The threshold as the person has typed it: it must be the one that was shown.

    Raises
    ------
    UsageError
        Another value, or another installation is at work.
    InputOutputError
        The active bundle changed meanwhile.
    StorageError
        It cannot be written.
    """
    root, point = prepared.root, prepared.judged.point
    if confirmed.strip() != prepared.value:
        raise UsageError(
            f"{confirmed.strip()!r} is not the threshold that was shown: nothing was changed",
            next_step=f"it is {prepared.value}",
        )
    with private_files(0o022), hold(root, _PATIENCE_S):
        if open_active(root).digest != point.bundle:
            raise InputOutputError("another bundle is active now: nothing was changed", next_step="begin again")
        name = prepared.judged.proposal.finding
        entry = point.thresholds[name]
        _record(root, point.bundle, "set", by=entry.by, finding=name, threshold=entry.value, rule=entry.rule,
                source=entry.source, evidence=entry.evidence, carried_from=entry.carried_from)  # fmt: skip
        write_points(root, read_points(root).with_point(point))
    return point


def clear_local(root: Path, *, by: str = "") -> LocalPoint | None:
    """Go back to the bundle's own point; returns what was in force, or None where it could not be read.

    Raises
    ------
    DataError
        The site has no threshold for the active bundle.
    """
    bundle = open_active(root)
    assert bundle.root is not None
    with private_files(0o022), hold(bundle.root, _PATIENCE_S):
        points, before = None, None
        with suppress(InputOutputError):  # damaged: to clear it is the way out
            points = read_points(bundle.root)
        if points is not None:
            before = points.of(bundle.digest)
            if before is None:
                raise DataError(
                    "the bundle's own threshold is in force already", next_step="see `edgedx threshold show`"
                )
            points = points.without(bundle.digest)
        _record(bundle.root, bundle.digest, "clear", by=by or user())
        write_points(bundle.root, points or LocalPoints())
    return before


def _record(root: Path, digest: str, action: str, **about: Any) -> None:
    """Durably, before anything changes: no threshold is ever in force that the log does not know."""
    audit = AuditFile(root, digest)
    try:
        audit.append(CONFIGURED, action=f"threshold {action}", user=os.getuid(), **about)
        audit.flush()
    finally:
        audit.close()
