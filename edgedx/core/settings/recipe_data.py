"""Parts of the recipe about public data sets: which layouts are read, how patches are cut, where a set is to be had."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

Layout = Literal[
    "nih-chestxray14",
    "isic2018-task3",
    "luna16",
    "eyepacs",
    "aptos2019",
    "cbis-ddsm",
    "brain-tumour-mri",
    "brain-tumour-figshare",
    "tuberculosis-cxr",
    "rsna-pneumonia",
    "kermany-pneumonia",
    "idrid",
    "busi",
    "iq-othnccd",
]
"""Public data sets read as they are published; `edgedx.lab.data.layouts` has a reader for each."""

Source = Literal["folders", "csv", "medmnist", "phantom", Layout]


class Section(BaseModel):
    """A section of the recipe: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER: ClassVar[frozenset[str]] = frozenset()
    """Fields that came later: left out of records where they ask for nothing, so that older runs stay current."""

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = {name: type(self).model_fields[name].default for name in self.LATER}
        return {
            key: value
            for key, value in plain(self).items()
            if key not in defaults or getattr(self, key) != defaults[key]
        }


Uncertain = Literal["unknown", "positive", "negative"]


class Reading(Section):
    """How a table or folder is read, and which images belong together: the base of the recipe's section `data`."""

    encoding: str | None = Field(
        None, description="Of the table, such as cp1252; null: UTF-8, or what its byte order mark says."
    )
    column_names: list[str] = Field([], description="Names of the table's columns, where it has no header row.")
    image_prefix: str = Field(
        "",
        description="What the table's paths begin with on another machine and is taken away, such as 'C:\\study\\'; "
        "backslashes count as slashes.",
    )
    image_format: str = Field(
        "{}", description="From a cell of image_column to a path below data.path, such as 'images/{}.png'."
    )
    uncertain: dict[str, Uncertain] = Field(
        {},
        description="Multilabel with label_columns: what -1 (not sure, as in CheXpert) is taken for, by column; '*' "
        "for all others. Unless named here: unknown, that is left out for this finding.",
    )
    patient_from: str | None = Field(
        None,
        description="Where no column names the patient: 'header' (Patient ID of DICOM files, kept as a hash), or a "
        "regular expression on the image's path whose first group is the patient, such as '(person[0-9]+)_'.",
    )
    patient_ids: Literal["merge", "refuse", "distinct"] = Field(
        "merge",
        description="Patients whose names differ only in zeros, case, blanks or a trailing .0: merge them into "
        "one and say so, refuse the data set, or take them as distinct.",
    )
    roi_columns: list[str] = Field(
        [],
        description="Columns with a box around what the label is about: left, top, width and height, pixels of the "
        "image. Training then looks at it more often (augment.roi); val, test and the device see whole images. Empty "
        "cells: no box.",
    )
    near_duplicates: Literal["together", "list", "ignore"] = Field(
        "together",
        description="Images that look alike (encoded or resized anew, adjacent slices). together: in one split; where "
        "the source gives the split, out of train. list: only counted and listed. ignore: not looked for.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.image_format.count("{}") != 1:
            raise ValueError("image_format: {} stands in it once, for the cell of image_column")
        if self.patient_from not in (None, "header"):
            try:
                groups = re.compile(str(self.patient_from)).groups
            except re.error as error:
                raise ValueError(f"patient_from: no regular expression: {error}") from error
            if groups != 1:
                raise ValueError("patient_from: a regular expression with one group in brackets, or header")
        if len(self.roi_columns) not in (0, 4) or len(set(self.roi_columns)) != len(self.roi_columns):
            raise ValueError("roi_columns: four columns, for left, top, width and height")
        if len(set(self.column_names)) != len(self.column_names):
            raise ValueError("column_names: a name stands twice")
        return self


class Patches(Section):
    """How a 2.5-D patch is cut out of a volume, for source luna16."""

    planes: Literal["orthogonal", "adjacent"] = Field(
        "orthogonal",
        description="The three channels. orthogonal: axial, coronal and sagittal plane through the candidate (Setio et "
        "al. 2016); adjacent: the axial plane between one above and one below it.",
    )
    side_mm: float = Field(50.0, gt=0, le=512, description="Side of the patch, mm.")
    pixels: int = Field(64, ge=16, le=512, description="Side of the patch, pixels.")
    gap_mm: float = Field(2.5, gt=0, le=50, description="Distance of adjacent planes, mm.")
    window_hu: tuple[float, float] = Field(
        (-1000.0, 400.0), description="What becomes black and what white, Hounsfield units."
    )
    negatives: int = Field(
        10,
        ge=0,
        description="Candidates without a nodule that are drawn for each one with, in each fold; 0: all of them.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("window_hu: the lower value comes first")
        return self


FOREIGN_BUILT_IN = {
    "photographs": "crops of scikit-learn's two photographs",
    "digits": "scikit-learn's handwritten digits",
    "noise": "uniform noise",
    "phantoms": "edgedx's own chest phantoms",
    "dicom": "the files that pydicom carries: CT, MR, US and others",
}
"""Sets that need no download."""


class Foreign(Section):
    """Images that the model is not made for, to judge whether it notices: `edgedx robustness`. Decides no model."""

    near: list[str] = Field(
        [], description="Other sets of the same organ: folders or MedMNIST files, relative to EDGEDX_DATA."
    )
    far: list[str] = Field(
        ["photographs", "digits", "noise", "dicom"],
        description=f"Anything else; built in are {', '.join(FOREIGN_BUILT_IN)}.",
    )


class Origin(Section):
    """Where the data set is to be had. Nothing is fetched from there; it is told where the data is missing."""

    page: str | None = Field(None, description="Official page of the data set.")
    cite: str | None = Field(None, description="DOI or address of its description.")
    access: str | None = Field(None, description="What it takes to get it: open, registration, rules to accept.")
    unpack: str | None = Field(None, description="What lies below data.path when it is unpacked, in a sentence.")
    disk_gb: float | None = Field(None, gt=0, description="Size on disk when unpacked, GB, about.")
    train_images: int | None = Field(
        None, ge=1, description="Images that an epoch sees, as published; for the estimate of GPU hours."
    )
    grouped_by: str | None = Field(None, description="What the set names to keep images together by; null: nothing.")
    limits: str | None = Field(None, description="What is known to be wrong with it.")
