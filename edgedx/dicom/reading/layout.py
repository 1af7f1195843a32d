"""The Image Pixel module (PS3.3 C.7.6.3): read, defaults filled in, checked before a byte is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from edgedx.core.codes import Code
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.decoding.refusals import check_budget, refuse

from .frames import choose_frame
from .header import field

GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
YBR = ("YBR_FULL", "YBR_FULL_422")
YBR_JPEG_2000 = ("YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class Layout:
    """Image Pixel module, checked.

    Attributes
    ----------
    rows, columns, samples : int
    allocated, stored : int
        Bits per sample.
    signed : bool
    photometric : str
        (0028,0004).
    planar : bool
        Colour by plane, in uncompressed data.
    frames, frame : int
        How many there are, and the index of the one that is read.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    planar: bool
    frames: int
    frame: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the decoded frame."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def stored_range(self) -> tuple[float, float]:
        """Least and greatest value of the stored bits."""
        if self.signed:
            return float(-(2 ** (self.stored - 1))), float(2 ** (self.stored - 1) - 1)
        return 0.0, float(2**self.stored - 1)

    def holds(self, extremes: tuple[float, float]) -> bool:
        """Whether the stored bits can hold a least and a greatest value."""
        return self.stored_range[0] <= extremes[0] and extremes[1] <= self.stored_range[1]


def read_layout(dataset: Dataset, max_bytes: int, policy: FramePolicy = "refuse", frame: int | None = None) -> Layout:
    """Read and check the Image Pixel module, and the size of the one decoded frame against the budget.

    Writers leave out SamplesPerPixel, PixelRepresentation and PlanarConfiguration, and write PhotometricInterpretation
    in lower case; each has then the one meaning that fits.

    Parameters
    ----------
    frame : int, optional
        Index of the frame to read, whatever `policy` says.

    Raises
    ------
    ImageError
        ``MULTI_FRAME``, ``TOO_LARGE``, ``BROKEN_HEADER``, ``PIXEL_FORMAT``, ``PHOTOMETRIC``.
    """
    frames = field(dataset, "NumberOfFrames", int, 1)
    allocated = field(dataset, "BitsAllocated", int)
    photometric = field(dataset, "PhotometricInterpretation", str).strip().upper()
    layout = Layout(
        rows=field(dataset, "Rows", int),
        columns=field(dataset, "Columns", int),
        samples=field(dataset, "SamplesPerPixel", int, 1 if photometric in GREY else 3),
        allocated=allocated,
        stored=field(dataset, "BitsStored", int, allocated),
        signed=field(dataset, "PixelRepresentation", int, 0) == 1,
        photometric=photometric,
        planar=field(dataset, "PlanarConfiguration", int, 0) == 1,
        frames=frames,
        frame=choose_frame(frames, policy) if frame is None else frame,
    )
    if frames < 1:
        raise refuse(Code.BROKEN_HEADER, "NumberOfFrames is not positive")
    if not 0 <= layout.frame < frames:
        raise refuse(Code.BROKEN_HEADER, f"no frame {layout.frame + 1} among {frames}")
    check_budget(layout.rows, layout.columns, max(layout.samples, 1), max(1, -(-allocated // 8)), max_bytes)
    if allocated not in (1, 8, 16, 32):
        raise refuse(Code.PIXEL_FORMAT, f"{allocated} bits allocated; 1, 8, 16 and 32 are read")
    if not 1 <= layout.stored <= allocated or (layout.signed and layout.stored < 2):
        raise refuse(Code.BROKEN_HEADER, "BitsStored does not fit BitsAllocated")
    if layout.photometric in GREY:
        samples = 1
    elif layout.photometric in ("RGB", *YBR, *YBR_JPEG_2000):
        samples = 3
    else:
        raise refuse(Code.PHOTOMETRIC, "a PhotometricInterpretation that edgedx does not read")
    if layout.samples != samples:
        raise refuse(Code.BROKEN_HEADER, "SamplesPerPixel contradicts PhotometricInterpretation")
    if samples == 3 and (layout.signed or layout.allocated not in (8, 16, 32)):
        raise refuse(Code.PIXEL_FORMAT, "signed or 1-bit colour")
    if layout.photometric in YBR and (layout.allocated, layout.stored) != (8, 8):
        raise refuse(Code.PIXEL_FORMAT, "YBR of other than 8 bits")
    return layout
