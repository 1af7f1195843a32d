"""Why an image was not read, in words of the clinic: one group of reason codes has one sentence and one thing to do."""

from __future__ import annotations

from edgedx.core.codes import Code
from edgedx.core.messages import say

_GROUPS: dict[str, tuple[Code, ...]] = {
    "several": (Code.MULTI_FRAME, Code.TOO_MANY_FRAMES),
    "no_image": (
        *(Code.DICOMDIR, Code.REPORT, Code.RADIOTHERAPY, Code.SEGMENTATION, Code.PRESENTATION, Code.WAVEFORM),
        *(Code.DOCUMENT, Code.NO_PIXELS),
    ),
    "blank": (Code.BLANK,),
    "modality": (Code.MODALITY,),
    "body_part": (Code.BODY_PART,),
    "view": (Code.VIEW, Code.LATERALITY),
    "age": (Code.AGE,),
    "window": (Code.WINDOW,),
    "raster": (Code.RASTER,),
    "raw": (Code.FOR_PROCESSING,),
    "small": (Code.TOO_SMALL,),
    "exposure": (Code.SATURATED,),
    "unlike": (Code.OUT_OF_DISTRIBUTION,),
    "damaged": (
        *(Code.EMPTY, Code.BROKEN_HEADER, Code.HEADER_MISMATCH, Code.TRUNCATED, Code.DECODE_FAILED),
        *(Code.DECODER_CRASH, Code.DECODER_TIMEOUT, Code.CHANGED, Code.NOT_RETRIEVED),
    ),
    "format": (
        *(Code.UNKNOWN_FORMAT, Code.NOT_DICOM, Code.DEFLATED, Code.TRANSFER_SYNTAX, Code.PIXEL_FORMAT),
        Code.PHOTOMETRIC,
    ),
    "large": (Code.TOO_LARGE, Code.DECODER_MEMORY),
    "fault": (Code.INTERRUPTED, Code.NOT_A_NUMBER),
}
_GROUP_OF = {code.value: group for group, codes in _GROUPS.items() for code in codes}


def group_of(code: str | None) -> str:
    """The group of a reason code; ``other`` for one that this edgedx does not know."""
    return _GROUP_OF.get(code or "", "other")


def why(language: str, code: str | None) -> str:
    """Why it was not read, to be put after "not read:"."""
    return say(language, f"why.{group_of(code)}")


def what_to_do(language: str, code: str | None) -> str:
    """What the person before the page can do now."""
    return say(language, f"do.{group_of(code)}")
