"""Look-up tables of the header: modality (PS3.3 C.11.1), values of interest (C.11.2), palette (C.7.6.3.1.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError
from edgedx.core.image import VoiTable, VoiWindow
from edgedx.dicom.decoding.refusals import refuse

from .header import field

Range = tuple[float, float]


@dataclass(frozen=True)
class Lut:
    """One table: input ``first`` maps to ``table[0]``; inputs outside take the ends.

    Attributes
    ----------
    first : int
    table : ndarray of shape (entries,), uint16
    bits : int
        Depth of the output values.
    """

    first: int
    table: NDArray[np.uint16]
    bits: int

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.uint16]:
        """Map integer `pixels` of any shape."""
        index = np.clip(pixels.astype(np.int64) - self.first, 0, len(self.table) - 1)
        return self.table[index]


def modality_lut(pixels: NDArray[Any], stored: Range, dataset: Dataset) -> tuple[NDArray[Any], Range]:
    """Stored values to the units of the modality; the identity where the header has neither table nor rescale.

    Parameters
    ----------
    pixels : ndarray of shape (H, W), integer
    stored : (float, float)
        Least and greatest value that the stored bits can hold.

    Returns
    -------
    pixels : ndarray of shape (H, W)
        The stored dtype, uint16 (table), int32 (integer rescale that fits) or float32.
    value_range : (float, float)
        The same mapping of `stored`.

    Raises
    ------
    ImageError
        ``BROKEN_HEADER`` for a damaged table, or a slope that is zero or not finite.
    """
    items = _items(dataset, "ModalityLUTSequence")
    if items:
        lut = _read_lut(items[0], dataset, stored)
        return lut.apply(pixels), (0.0, float(2**lut.bits - 1))
    slope, intercept = field(dataset, "RescaleSlope", float, 1.0), field(dataset, "RescaleIntercept", float, 0.0)
    if not math.isfinite(slope) or not math.isfinite(intercept) or slope == 0:
        raise refuse(Code.BROKEN_HEADER, "RescaleSlope or RescaleIntercept is zero or not finite")
    if slope == 1 and intercept == 0:
        return pixels, stored
    ends = sorted(value * slope + intercept for value in stored)
    value_range = (ends[0], ends[1])
    if slope.is_integer() and intercept.is_integer() and max(map(abs, value_range)) < 2**31:
        return (pixels.astype(np.int64) * int(slope) + int(intercept)).astype(np.int32), value_range
    if max(map(abs, value_range)) > np.finfo(np.float32).max:
        raise refuse(Code.BROKEN_HEADER, "RescaleSlope and RescaleIntercept exceed what pixels can hold")
    rescaled = (pixels.astype(np.float64) * slope + intercept).astype(np.float32)
    # float32 rounds the ends of the range too; the range must still hold every pixel.
    return rescaled, (float(np.float32(ends[0])), float(np.float32(ends[1])))


def first_voi(dataset: Dataset, value_range: Range) -> tuple[VoiWindow | VoiTable | None, str | None]:
    """The header's first VOI: its table where it has one (as pydicom's apply_voi_lut), else its first window.

    Returns
    -------
    voi : VoiWindow, VoiTable or None
    ignored : str or None
        Why a VOI that is in the header is not used. A broken window does not make the pixels unreadable: the
        image is then treated as one without a window, and the reason is recorded.
    """
    try:
        items = _items(dataset, "VOILUTSequence")
        lut = _read_lut(items[0], dataset, value_range) if items else None
    except ImageError:
        return None, "the VOI LUT is damaged"
    if lut is not None:
        return VoiTable(lut.first, (lut.table / np.float32(2**lut.bits - 1)).astype(np.float32)), None
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if centers == [] and widths == []:
        return None, None
    if not centers or not widths:
        return None, "WindowCenter or WindowWidth is missing or not a number"
    function = field(dataset, "VOILUTFunction", str, "LINEAR").strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None, "VOILUTFunction is unknown"
    center, width = centers[0], widths[0]
    if not math.isfinite(center) or not math.isfinite(width) or width <= 0:
        return None, "WindowWidth is out of range"  # C.11.2.1.3.2
    if function == "LINEAR" and width < 1:
        # C.11.2.1.2.1 forbids it, and writers with a small RescaleSlope do it: they mean the exact formula, which the
        # linear one is for integers.
        function = "LINEAR_EXACT"
    return VoiWindow(center, width, function), None


def palette_to_rgb(indices: NDArray[Any], dataset: Dataset, stored: Range) -> tuple[NDArray[Any], int]:
    """Apply the palette.

    Returns
    -------
    rgb : ndarray of shape (H, W, 3), uint8 or uint16
    bits : int
        8 or 16.

    Raises
    ------
    ImageError
        ``PHOTOMETRIC`` for segmented or absent palettes; ``BROKEN_HEADER`` for damaged ones.
    """
    if dataset.get("RedPaletteColorLookupTableData") is None:
        raise refuse(Code.PHOTOMETRIC, "PALETTE COLOR with a segmented palette, or with none")
    channels = []
    bits = 8
    for colour in ("Red", "Green", "Blue"):
        # All three descriptors are required to be identical (C.7.6.3.1.5).
        lut = _lut(
            dataset.get("RedPaletteColorLookupTableDescriptor"),
            dataset.get(f"{colour}PaletteColorLookupTableData"),
            dataset,
            stored,
        )
        bits = lut.bits
        channels.append(lut.apply(indices))
    if bits not in (8, 16):
        raise refuse(Code.BROKEN_HEADER, "a palette of neither 8 nor 16 bits")
    return np.stack(channels, axis=-1).astype(np.uint8 if bits == 8 else np.uint16), bits


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    return list(field(dataset, keyword, list, []))


def _numbers(dataset: Dataset, keyword: str) -> list[float] | None:
    """Values of a DS element of any multiplicity; None when one is not a number."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        return [float(value)] if not hasattr(value, "__iter__") or isinstance(value, str) else [float(v) for v in value]
    except Exception:
        return None


def _read_lut(item: Dataset, dataset: Dataset, inputs: Range) -> Lut:
    try:
        descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    except Exception:
        raise refuse(Code.BROKEN_HEADER, "a look-up table cannot be parsed") from None
    return _lut(descriptor, data, dataset, inputs)


def _lut(descriptor: Any, data: Any, dataset: Dataset, inputs: Range) -> Lut:
    """Descriptor (entries, first, bits) and data, as bytes (OW) or numbers (US), to a `Lut`."""
    try:
        entries, first, bits = (int(value) for value in descriptor)
        entries = entries or 2**16  # 0 stands for 65536 (C.11.1.1)
        if inputs[0] < 0 and first >= 2**15:
            first -= 2**16  # the value is signed where inputs may be negative, whatever the VR in the file says
        if isinstance(data, bytes):
            order = "<" if dataset.original_encoding[1] is not False else ">"
            table = np.frombuffer(data, "u1" if bits == 8 and len(data) < 2 * entries else f"{order}u2")
        else:
            table = np.asarray([data] if isinstance(data, int) else list(data), np.int64)
        table = table[:entries]
        if bits == 8 and table.size and table.max() > 255:
            table = table >> 8  # 8-bit palettes are also found in the upper byte of 16-bit words
        if not 8 <= bits <= 16 or entries < 1 or len(table) < entries or table.min() < 0:
            raise ValueError
        # Some writers declare fewer bits than their table uses; clipping would saturate the bright end.
        bits = max(bits, int(table.max()).bit_length())
        return Lut(first, table.astype(np.uint16), bits)
    except Exception:
        raise refuse(Code.BROKEN_HEADER, "a look-up table contradicts its descriptor") from None
