"""What a model was made for: the ``accept`` section of a recipe, which travels in the bundle. All else is refused."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

FramePolicy = Literal["refuse", "first", "middle", "each"]
HeaderField = Literal["modality", "body_part", "view", "laterality", "age"]
UNREADABLE_FIELDS = "Unreadable"
"""Key of an image's facts: the header fields, joined by commas, whose value is there and not understood."""
CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
"""A value of VR CS, PS3.5 6.2."""


class Accept(BaseModel):
    """Empty lists accept all. A value that the header does not give passes, unless `required` names its field.

    A value that is there and cannot be understood is refused by the rule of its field.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: list[str] = Field([], description="(0008,0060) values accepted, e.g. CR, DX.")
    body_part: list[str] = Field(
        [], description="(0018,0015) values accepted, e.g. CHEST; where it is absent, (0008,2218) as such a value."
    )
    view: list[str] = Field(
        [], description="(0018,5101) values accepted, e.g. AP, PA, LL; where it is absent, (0054,0220) as such a value."
    )
    laterality: list[Literal["L", "R", "B", "U"]] = Field(
        [], description="(0020,0062), else (0020,0060): left, right, both, unpaired."
    )
    age_years: tuple[int, int] | None = Field(
        None,
        description="Least and greatest age accepted, completed years when the study was made: (0010,1010), else by "
        "birth and study date.",
    )
    required: list[HeaderField] = Field(
        [], description="Fields that may not be absent; a raster file has none of them, and is refused then."
    )
    raster: Literal["accept", "refuse"] = Field(
        "accept",
        description="PNG, JPEG, TIFF, BMP and WebP carry no header, so that no rule above can be checked: take them "
        "and list in the result what was not checked, or refuse them.",
    )
    for_processing: bool = Field(
        False, description="Also take raw detector values, (0008,0068) FOR PROCESSING; few models learned from them."
    )
    multi_frame: FramePolicy = Field(
        "refuse",
        description="Several frames: refuse, or read the first or the middle one; or each, where a model of single "
        "images answers every frame and the most suspicious one decides (docs/refusals.md; not for argmax among many "
        "classes). DICOM only: a TIFF of several pages is refused.",
    )
    max_saturated: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Greatest share of pixels that preprocess.window may make black or white; 1 is off "
        "(docs/refusals.md says what chest radiographs have).",
    )
    min_side: int = Field(16, ge=1, description="Least height and width of the source, pixels.")
    ood: Literal["refuse", "flag", "off"] = Field(
        "refuse",
        description="Images whose features are unlike those of the training images: refuse them, answer and say so, or "
        "do not look. 99 of 100 images such as those of the val split pass (docs/doubt.md).",
    )

    def describe(self) -> str:
        """In words, for people."""
        lists = (self.modality, self.body_part, self.view, [str(side) for side in self.laterality])
        names = ("modality", "body part", "view", "side")
        parts = [f"{name} {', '.join(values)}" for name, values in zip(names, lists, strict=True) if values]
        if self.age_years is not None:
            parts.append(f"age {self.age_years[0]} to {self.age_years[1]} years")
        if self.required:
            parts.append(f"only with {', '.join(self.required).replace('_', ' ')} in the header")
        if self.raster == "refuse":
            parts.append("DICOM only")
        return "; ".join(parts) or "any modality"

    @field_validator("modality", "body_part", "view")
    @classmethod
    def _code_strings(cls, values: list[str]) -> list[str]:
        values = [value.strip().upper() for value in values]
        if wrong := [value for value in values if not CODE_STRING.fullmatch(value)]:
            raise ValueError(f"{wrong[0]!r} cannot stand in a header: capitals, digits, _ and space, 16 at most")
        return values

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.age_years is not None and not 0 <= self.age_years[0] <= self.age_years[1] <= 130:
            raise ValueError("age_years: two ages from 0 to 130, the lower first")
        return self
