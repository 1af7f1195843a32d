"""What is usual at this site: taken from its own first images, as only they can tell of its machines and patients."""

from __future__ import annotations

from pydantic import Field

from edgedx.core.bundle.reference import Numbers
from edgedx.core.stats.drift import quantile_grid
from edgedx.core.strict import Strict

from .sample import Sample

FIRST = 500
"""Images that it is taken from."""
_POINTS = 201


class Usual(Strict):
    """Of one model at one site."""

    schema_version: int = 1
    images: int = Field(ge=1)
    first: int = Field(description="Sequence number of the first image that it is of.")
    last: int = Field(description="Of the last one; what came after is compared with it.")
    until: int = Field(description="Day of the last one, since 1970.")
    numbers: dict[str, Numbers] = Field(description="By stream.")
    categories: dict[str, dict[str, int]] = Field(description="Counts by stream of the header and value.")
    outcomes: dict[str, int] = Field(description="Counts by reason code, and of what was answered.")
    called: dict[str, int] = Field(description="Answered images by class.")
    unlike: tuple[int, int] = Field(description="Unlike ones, of those that were asked about.")
    repeats: tuple[int, int] = Field(description="Near-identical ones, of those that were read.")


def usual_of(sample: Sample) -> Usual:
    """Take it from images."""
    numbers = {}
    for stream in sample.number_streams:
        values = sample.numbers(stream)
        grid = [float(f"{value:.6g}") for value in quantile_grid(values, min(_POINTS, max(2, len(values))))]
        numbers[stream] = Numbers(grid=grid, worth=len(values))
    return Usual(
        images=len(sample),
        first=sample.images[0].sequence,
        last=sample.images[-1].sequence,
        until=sample.images[-1].time // 86400,
        numbers=numbers,
        categories={name: dict(counts) for name, counts in sample.categories.items()},
        outcomes=dict(sample.outcomes),
        called=dict(sample.called),
        unlike=sample.unlike,
        repeats=sample.repeats,
    )
