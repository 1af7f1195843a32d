"""What every reader (DICOM, PNG, array) hands to preprocessing, and how the reader's grey values become light."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FORMAT = "Format"
"""Key of `Image.meta`: the format of a raster file, which carries no header; a DICOM image has no such entry."""
MACHINE, EXPOSURE, WINDOW_WIDTH = "Machine", "ExposureMAs", "WindowWidthUsed"
"""Keys of `Image.meta`: a hash of the machine's manufacturer and model, its exposure, and the width of its window."""
WINDOW_UNREADABLE = "WindowUnreadable"
"""Key of `Image.meta`: why the window that is in the header is not used."""


@dataclass(frozen=True)
class VoiWindow:
    """A linear or sigmoid values-of-interest window (DICOM PS3.3 C.11.2.1.2).

    Attributes
    ----------
    center, width : float
        In the units of the rescaled pixels (after the modality LUT).
    function : str
        ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID`` as in (0028,1056).
    """

    center: float
    width: float
    function: str = "LINEAR"

    def apply(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map rescaled `pixels` to [0, 1] (equations C.11-2 and C.11-3 of the standard)."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4.0 * (pixels - self.center) / self.width, -60.0, 60.0)
            return np.asarray(1.0 / (1.0 + np.exp(exponent)), np.float32)
        if self.function == "LINEAR_EXACT":
            unit = (pixels - self.center) / self.width + 0.5
        elif self.width <= 1.0:  # the LINEAR formula divides by width - 1; the standard makes this a threshold
            unit = (pixels > self.center - 0.5).astype(np.float32)
        else:
            unit = (pixels - (self.center - 0.5)) / (self.width - 1.0) + 0.5
        return np.asarray(np.clip(unit, 0.0, 1.0), np.float32)


@dataclass(frozen=True)
class VoiTable:
    """A VOI LUT (DICOM PS3.3 C.11.2.1.1).

    Attributes
    ----------
    first : int
        Rescaled pixel value that maps to ``table[0]``; values outside the table take its ends.
    table : ndarray of shape (entries,), float32
        Output values, already scaled to [0, 1] by the table's bit depth.
    """

    first: int
    table: NDArray[np.float32]

    def apply(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map rescaled `pixels` to [0, 1]."""
        index = np.clip(np.rint(pixels).astype(np.int64) - self.first, 0, len(self.table) - 1)
        return self.table[index]


@dataclass(frozen=True)
class Image:
    """One decoded image, before any decision about its display.

    Attributes
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3)
        Any integer or float dtype, after the modality LUT (rescale slope and intercept), before VOI
        and before polarity. Three channels are RGB.
    value_range : (float, float)
        Least and greatest value that `pixels` can hold, from the stored bits and the rescale,
        e.g. (0, 255) or (-1024, 3071).
    voi : VoiWindow or VoiTable, optional
        The header's first window or table; None where the file has none.
    inverted : bool
        True for MONOCHROME1: high values are dark. Inversion comes after VOI (PS3.4 N.2).
    meta : dict of str
        Header fields that later steps need (modality, body part, view ...); never a name or an identifier.
    padding : ndarray of shape (H, W), bool, optional
        True where the pixel is no image (DICOM PS3.3 C.7.5.1.1.2): it has no part in extremes, percentiles and
        saturation, and is shown as background, black. None where there is none.
    """

    pixels: NDArray[np.generic]
    value_range: tuple[float, float]
    voi: VoiWindow | VoiTable | None = None
    inverted: bool = False
    meta: dict[str, str] = field(default_factory=dict)
    padding: NDArray[np.bool_] | None = None

    @classmethod
    def of_array(cls, pixels: NDArray[np.generic]) -> Image:
        """Wrap a uint8, uint16 or [0, 1] float array that needs no window."""
        if pixels.dtype == np.uint8:
            return cls(pixels, (0.0, 255.0))
        if pixels.dtype == np.uint16:
            return cls(pixels, (0.0, 65535.0))
        if np.issubdtype(pixels.dtype, np.floating):
            return cls(pixels, (0.0, 1.0))
        raise TypeError(f"expected uint8, uint16 or float pixels, got {pixels.dtype}")
