"""One result per image: what the scanner writes, what a script reads. The schema is versioned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .files import sha256_bytes

SCHEMA_VERSION = 1
NOT_A_MEDICAL_DEVICE = "Research software, not a medical device. Not for diagnosis."


class Reason(BaseModel):
    """Why an image was refused or quarantined."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(description="Stable upper-case code, e.g. MODALITY, BLANK, TRUNCATED, DECODER_CRASH.")
    message: str = Field(description="One sentence; holds no patient data.")


class SourceFile(BaseModel):
    """Where the image came from and how it was decoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Path relative to the inbox.")
    sha256: str = Field(
        description="SHA-256 of the file's content; of one over 512 MiB, which is not read, of its size and its ends."
    )
    bytes: int = Field(description="Size of the file.")
    format: str | None = Field(None, description="dicom, png, jpeg, tiff, bmp or webp; null when unknown.")
    sop_instance_uid: str | None = Field(None, description="(0008,0018), DICOM only.")
    transfer_syntax: str | None = Field(None, description="Transfer syntax UID, DICOM only.")
    decoder: str | None = Field(None, description="Library and version that decoded the pixels.")


class Prediction(BaseModel):
    """What the model said, after temperature scaling."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(description="Class decided for; for several findings, those over their threshold joined by '|'.")
    probabilities: dict[str, float] = Field(description="Calibrated probability of each class, 0 to 1.")
    operating_point: str = Field(description="Name of the operating point, e.g. youden; local: the site's own.")
    origin: Literal["bundle", "local"] = Field(
        "bundle", description="Who chose the threshold: the makers of the bundle, or the site (`edgedx threshold`)."
    )
    threshold: dict[str, float] = Field(
        description="Decision threshold on the probability, by class; empty for argmax."
    )


class PredictionSet(BaseModel):
    """Every class that cannot be told from the true one as often as promised (`core.conformal`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: list[str] = Field(description="One where the model is sure; several or none where it is not.")
    coverage: float = Field(description="Share of images of each class whose set holds it, promised for images such "
                            "as those that the model was calibrated on.")  # fmt: skip
    meaning: str = Field(description="The same in plain words.")


class Unlikeness(BaseModel):
    """How unlike the training images an image is (`core.ood`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out_of_distribution: bool = Field(description="Whether the score that decides is over its limit.")
    distance: float | None = Field(None, description="Of the features to the nearest class; about 1 in training.")
    distance_limit: float | None = Field(None, description="It decides where there is one.")
    energy: float = Field(description="Of the logits.")
    energy_limit: float = Field(description="Decides only where there is no distance.")
    pass_rate: float = Field(description="Share of images such as those of the val split that each limit lets pass.")


class FrameResult(BaseModel):
    """What the model said of one frame of a multi-frame object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame: int = Field(description="Number of the frame, from 1, as Referenced Frame Number (0008,1160) counts.")
    label: str | None = Field(None, description="Class decided for; null where the object has no answer.")
    probabilities: dict[str, float] = Field({}, description="Calibrated; empty where the object has no answer.")
    prediction_set: list[str] | None = Field(None, description="Where the bundle has thresholds for it.")
    unlikeness: Unlikeness | None = Field(None, description="Where the model has statistics for it.")


class ColumnsUsed(BaseModel):
    """What the model was told beside the image (`core.columns`): names alone, never a value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    used: list[str] = Field(description="Columns whose values went into the answer.")
    absent: list[str] = Field(
        description="Columns that the header does not give, or gives as none of the known values."
    )


class HeaderChecks(BaseModel):
    """What of the model's rules for the header could not be checked. Only where there is something to say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    no_header: bool = Field(description="True for a raster file, which has none: nobody checked what is listed below.")
    not_checked: list[str] = Field(
        description="Rules of the recipe whose field is absent: modality, body_part, view, laterality, age."
    )
    unreadable: list[str] = Field(
        description="Fields that are there and not understood, whether there is a rule or not."
    )
    window: str | None = Field(None, description="Why the header's window is not used, where it cannot be read.")


class Runtime(BaseModel):
    """What computed the result, and how long it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(description="SHA-256 of the bundle's manifest.")
    model: str = Field(description="Name and version of the bundle.")
    variant: str = Field(description="Which model of the bundle ran: fp32, int8-u8s8 ...")
    provider: str = Field(description="Execution provider that really ran.")
    edgedx: str = Field(description="Version of edgedx.")
    decode_ms: float | None = Field(None, description="Milliseconds to read and decode.")
    preprocess_ms: float | None = Field(None, description="Milliseconds from pixels to network input.")
    infer_ms: float | None = Field(None, description="Milliseconds of inference.")


class Result(BaseModel):
    """The JSON beside every image.

    ``done`` was read and answered, ``refused`` was read but is not what the model was made for,
    ``quarantined`` could not be read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(SCHEMA_VERSION, description="Of this layout.")
    key: str = Field(description="Identity of the result: SHA-256 over file content and bundle digest.")
    status: Literal["done", "refused", "quarantined"] = Field(description="What became of the image.")
    source: SourceFile = Field(description="The file.")
    prediction: Prediction | None = Field(None, description="Of what is done, and of nothing else.")
    prediction_set: PredictionSet | None = Field(
        None,
        description="Where the bundle has thresholds for it; not of an object of which each frame was answered: what is "
        "promised for an image does not hold for the most suspicious of many.",
    )
    unlikeness: Unlikeness | None = Field(
        None,
        description="Where the model was asked and has statistics for it; of several frames, the most unlike one's.",
    )
    frame: int | None = Field(
        None,
        description="Of a multi-frame object: number of the frame, from 1, that was read, or that decided where each "
        "was answered, or because of which the object was refused.",
    )
    frame_rule: str | None = Field(None, description="How the object's answer came from those of its frames, in words.")
    frame_by_finding: dict[str, int] | None = Field(
        None, description="Of several findings: the frame in which each is most probable."
    )
    frames: list[FrameResult] | None = Field(
        None, description="Every frame, in order, where each was answered (accept.multi_frame: each)."
    )
    columns: ColumnsUsed | None = Field(None, description="Where the model was asked and takes more than the image.")
    header: HeaderChecks | None = Field(
        None, description="Where a rule for the header could not be checked, or a field not read."
    )
    reason: Reason | None = Field(None, description="Of what is refused or quarantined.")
    runtime: Runtime = Field(description="What computed it.")
    sequence: int = Field(description="Order of arrival in the ledger; the wall clock may be wrong.")
    created: str = Field(description="Wall clock, ISO 8601 UTC; display only.")
    clock_trusted: bool = Field(description="False when the clock is before this release was made.")
    disclaimer: str = Field(NOT_A_MEDICAL_DEVICE, description="Always there.")


def result_key(content_sha256: str, bundle_digest: str) -> str:
    """Identity of a result, so that a replay overwrites and never duplicates.

    Parameters
    ----------
    content_sha256 : str
        SHA-256 of the image file.
    bundle_digest : str
        SHA-256 of the bundle's manifest.
    """
    return sha256_bytes(f"{content_sha256}:{bundle_digest}".encode())
