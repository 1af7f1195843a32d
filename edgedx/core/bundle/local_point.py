"""The operating point of a site, beside the bundle and never in it; and the one answer to which point is in force.

``ROOT/operating_point.json`` is bound to bundles by digest: what was chosen for one says nothing about another, so that
after an update the new bundle's own point is in force until one is chosen for it, and after a rollback the old one's
local point is back.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import read_regular, write_json
from edgedx.core.stats.points import LOCAL, OperatingPoint
from edgedx.core.strict import Strict
from edgedx.core.text import command_line

from .manifest import Bundle

FILE = "operating_point.json"
MOST_BUNDLES = 8
"""Bundles whose local points are kept: the two slots, and a few before them."""

Source = Literal["images", "results", "answers", "blind answers"]


class Figure(Strict):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


class LocalThreshold(Strict):
    """The threshold of one class, and how it was chosen."""

    value: float = Field(gt=0, lt=1, description="On the calibrated probability: positive when it is reached.")
    rule: str = Field(description="sensitivity-0.95, cost, positives, or given.")
    words: str = Field(description="What was asked for, in a sentence.")
    source: Source = Field(description="What it was judged on.")
    images: int = Field(ge=1)
    patients: int = Field(ge=1)
    positives: int = Field(ge=0, description="Images with the finding.")
    evidence: str = Field(description="SHA-256 over the images' SHA-256 and labels: which images these were.")
    sensitivity: Figure
    specificity: Figure
    by: str = Field(description="Who has confirmed it.")
    at: str = Field(description="Wall clock, ISO 8601 UTC.")
    edgedx: str = Field(description="Version that wrote it.")
    carried_from: str | None = Field(None, description="Digest of the bundle that the value was chosen for.")


class LocalPoint(Strict):
    """The thresholds of a site for one bundle; classes that are not named keep the bundle's own."""

    bundle: str = Field(pattern=r"^[0-9a-f]{64}$", description="Digest of the bundle that it was chosen for.")
    model: str = Field(description="Name and version of that bundle.")
    thresholds: dict[str, LocalThreshold] = Field(min_length=1, description="By class.")

    def point(self, bundle: Bundle) -> OperatingPoint:
        """As a model decides at it."""
        own = bundle.manifest.operating_points[0].threshold
        values = {**own, **{name: one.value for name, one in self.thresholds.items()}}
        only = next(iter(self.thresholds.values())) if len(self.thresholds) == 1 else None
        return OperatingPoint(
            name=LOCAL,
            threshold=values,
            sensitivity=None if only is None else only.sensitivity.value,
            specificity=None if only is None else only.specificity.value,
        )


class LocalPoints(Strict):
    """operating_point.json."""

    schema_version: Literal[1] = 1
    points: list[LocalPoint] = Field([], max_length=MOST_BUNDLES, description="The newest first; one of each bundle.")

    def of(self, digest: str) -> LocalPoint | None:
        """That of one bundle."""
        return next((one for one in self.points if one.bundle == digest), None)

    def with_point(self, point: LocalPoint) -> LocalPoints:
        """With this one, in the place of what was chosen for the same bundle."""
        return LocalPoints(points=[point, *(one for one in self.points if one.bundle != point.bundle)][:MOST_BUNDLES])

    def without(self, digest: str) -> LocalPoints:
        """Without that of one bundle."""
        return LocalPoints(points=[one for one in self.points if one.bundle != digest])


def read_points(root: Path) -> LocalPoints:
    """All local points of a device.

    Raises
    ------
    InputOutputError
        The file is damaged. A scanner does not start then: to go on at the bundle's own point in silence would be to
        answer at a threshold that the site has replaced.
    """
    path = root / FILE
    if not os.path.lexists(path):
        return LocalPoints()
    try:
        return LocalPoints.model_validate_json(read_regular(path, 1 << 20, follow=False))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputOutputError(
            f"{path}, field {where}: {first['msg']}: the local operating point cannot be read",
            next_step=f"choose it again: `{command_line('threshold', 'clear', root)}`, then `edgedx threshold set`",
        ) from error


def write_points(root: Path, points: LocalPoints) -> None:
    """Replace the file durably; hold the device's slots meanwhile."""
    write_json(root / FILE, points.model_dump(mode="json"))


def local_of(bundle: Bundle) -> LocalPoint | None:
    """What was chosen at this site for an installed bundle; None for one that was opened from a file.

    Raises
    ------
    InputOutputError
        See `read_points`; or it names a class that the bundle has not.
    """
    if bundle.root is None:
        return None
    point = read_points(bundle.root).of(bundle.digest)
    if point is not None and (unknown := sorted(set(point.thresholds) - set(bundle.manifest.classes))):
        raise InputOutputError(
            f"{bundle.root / FILE}: {unknown[0]!r} is no class of {point.model}",
            next_step=f"choose it again: `{command_line('threshold', 'clear', bundle.root)}`",
        )
    return point


def points_of(bundle: Bundle) -> list[OperatingPoint]:
    """Every point that a bundle can be asked at; the first is in force: the site's where there is one."""
    local = local_of(bundle)
    return [*([] if local is None else [local.point(bundle)]), *bundle.manifest.operating_points]


def point_of(bundle: Bundle, name: str | None = None) -> OperatingPoint:
    """The point in force, or the one called `name`. Scanner, `predict`, `gate` and `evaluate` all ask here.

    Raises
    ------
    UsageError
        No such point.
    InputOutputError
        See `local_of`.
    """
    points = points_of(bundle)
    for point in points:
        if name in (None, point.name):
            return point
    raise UsageError(
        f"no operating point {name!r}", next_step=f"choose one of {', '.join(point.name for point in points)}"
    )
