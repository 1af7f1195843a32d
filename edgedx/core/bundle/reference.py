"""What a variant's images and answers looked like where it was made: what a device compares its weeks with.

One part of the bundle for each variant, `reference-VARIANT.json`, named in the manifest's ``reference``. Under 50 kB,
and no image in it: quantiles and counts.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, model_validator
from typing_extensions import Self

from edgedx.core.errors import BundleError
from edgedx.core.files import canonical_json
from edgedx.core.strict import Strict

MOST_BYTES = 50_000


class Numbers(Strict):
    """A stream of numbers."""

    grid: list[float] = Field(min_length=2, description="Quantiles at equal steps of probability, 0 to 1.")
    worth: int = Field(ge=1, description="Independent images that it is worth: those of one patient are alike.")


class Given(Strict):
    """Probabilities of a class, by what the image shows: sensitivity and specificity at any threshold."""

    present: list[float] = Field(description="Quantiles where the class is there; empty where no image shows it.")
    absent: list[float] = Field(description="Quantiles where it is not.")
    images_present: int = Field(ge=0)
    images_absent: int = Field(ge=0)


class Correction(Strict):
    """What makes probabilities honest enough to count patients with (see `core.stats.prevalence.corrected`)."""

    scale: dict[str, float] = Field(description="By class.")
    bias: dict[str, float] = Field(description="By class.")
    built: dict[str, float] = Field(description="Share of each class in the images that it was fitted on.")


class Reference(Strict):
    """Of one variant."""

    schema_version: Literal[1] = 1
    images: int = Field(ge=1, description="Images of val, the split that it is of.")
    numbers: dict[str, Numbers] = Field(description="By stream: probability:CLASS, distance, energy, mean ...")
    refusals: dict[str, int] = Field({}, description="Images of val by reason code that would be refused.")
    unlike: float | None = Field(None, ge=0, le=1, description="Share of val that is unlike; null where nobody asks.")
    called: dict[str, float] = Field({}, description="Share of val that each class is called of, at the first point.")
    repeats: float = Field(
        ge=0, le=1, description="Share of images with three near-identical ones or more among 200 of val."
    )
    built: dict[str, float] = Field(description="Share of each class in val and test together.")
    correction: Correction | None = Field(None, description="Fitted there, too.")
    redrawn: list[Correction] = Field([], description="Fitted on resamples of the patients: how uncertain it is.")
    given: dict[str, Given] = Field({}, description="By class, on the split `judged_on`.")
    judged_on: Literal["test", "val"] = "test"
    ece: float | None = Field(None, ge=0, le=1, description="Calibration error on that split, before `correction`.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, one in self.numbers.items():
            if any(low > high for low, high in zip(one.grid, one.grid[1:], strict=False)):
                raise ValueError(f"the quantiles of {name} are not in order")
        return self


def part_name(variant: str) -> str:
    """Name of a variant's part."""
    return f"reference-{variant}.json"


def pack_reference(reference: Reference) -> bytes:
    """As a part of a bundle; raises ValueError where it would be over `MOST_BYTES`."""
    data = canonical_json(reference.model_dump(mode="json"))
    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data)} bytes; at most {MOST_BYTES} may be")
    return data


def parse_reference(data: bytes, where: str) -> Reference:
    """Read what `pack_reference` wrote.

    Raises
    ------
    BundleError
        It is malformed or too large.
    """
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("too large")
        return Reference.model_validate_json(data)
    except (ValidationError, ValueError) as error:
        raise BundleError(f"{where} is malformed", next_step="deploy the bundle again") from error
