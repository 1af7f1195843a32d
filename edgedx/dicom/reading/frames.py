"""Which of several frames is read, and what the header says of that one frame alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from edgedx.core.codes import Code
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.decoding.refusals import refuse

from .header import field

# Enhanced objects, breast tomosynthesis among them, keep these in functional groups (PS3.3 C.7.6.16.2.9 Pixel Value
# Transformation, .10 Frame VOI LUT, .8 Frame Anatomy).
_MACROS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    "FrameAnatomySequence": ("AnatomicRegionSequence", "FrameLaterality"),
}
_WRITTEN = [
    tag
    for keyword in (*(name for names in _MACROS.values() for name in names), "ImageLaterality")
    if (tag := tag_for_keyword(keyword)) is not None
]

_LABELS = (
    "export the frames that show what the label says, as single images; accept.multi_frame: each is for prediction"
)


def choose_frame(frames: int, policy: FramePolicy) -> int:
    """Index of the frame to read, from 0; of an even number, the middle is the later of the two.

    Raises
    ------
    ImageError
        ``MULTI_FRAME`` where there are several and `policy` is ``refuse``; or ``each``, which is `read.read_frames`'s:
        who asks for one image, as training does, has one label, and nobody knows of which frame.
    """
    if frames > 1 and policy == "refuse":
        raise refuse(Code.MULTI_FRAME, f"{frames} frames", next_step="export the frame to be read as a single image")
    if frames > 1 and policy == "each":
        raise refuse(Code.MULTI_FRAME, f"{frames} frames, where one image is asked for", next_step=_LABELS)
    return frames // 2 if policy == "middle" else 0


@contextmanager
def kept_as_it_is(dataset: Dataset) -> Iterator[None]:
    """Undo what `take_frame_attributes` writes, so that what is said of one frame does not reach the next."""
    before = {tag: dataset.get_item(tag) for tag in _WRITTEN if tag in dataset}
    try:
        yield
    finally:
        for tag in _WRITTEN:
            if tag in dataset:
                del dataset[tag]
        for tag, element in before.items():
            dataset[tag] = element


def take_frame_attributes(dataset: Dataset, index: int) -> None:
    """Write rescale, window and anatomy of frame `index` to the root of `dataset`, where they are looked for.

    What stands in a functional group stands nowhere else (C.7.6.16.1.1), and there is one for all frames or one each.

    Raises
    ------
    ImageError
        ``BROKEN_HEADER``: a functional group that cannot be parsed, or none for this frame.
    """
    groups = field(dataset, "SharedFunctionalGroupsSequence", list, [])[:1]
    if per_frame := field(dataset, "PerFrameFunctionalGroupsSequence", list, []):
        if index >= len(per_frame):
            raise refuse(Code.BROKEN_HEADER, "fewer per-frame functional groups than frames")
        groups = [*groups, per_frame[index]]
    for group in groups:
        for macro, keywords in _MACROS.items():
            for item in field(group, macro, list, [])[:1]:
                for keyword in keywords:
                    if keyword in item and keyword == "FrameLaterality":
                        dataset.ImageLaterality = field(item, keyword, str, "")
                    elif keyword in item:
                        dataset[keyword] = item[keyword]
