"""DICOM pixels computed a second time, without edgedx: stored values by numpy, Pillow or OpenCV, display by pydicom."""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import PIL.Image
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

Array = NDArray[Any]
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEG2000)
# Files with an uncompressed twin, and the greatest difference: JPEG-LS has no second decoder here, and
# OpenCV guesses the colours of a JPEG without looking at the DICOM header.
TWINS = {
    "SC_rgb_jpeg.dcm": ("SC_rgb_jpeg_dcmd.dcm", 0),
    "SC_jpeg_no_color_transform.dcm": ("SC_rgb_jpeg_dcmd.dcm", 0),
    "MR_small_jpeg_ls_lossless.dcm": ("MR_small.dcm", 0),
    "emri_small_jpeg_ls_lossless.dcm": ("emri_small.dcm", 0),
    "SC_rgb_jls_lossy_line.dcm": ("SC_rgb.dcm", 6),
    "SC_rgb_jls_lossy_sample.dcm": ("SC_rgb.dcm", 6),
}


# Grey steps of 5 rows each; pydicom's own tests say the same (tests/pixels/pixels_reference.py).
STEPS = {
    "JPEGLSNearLossless_08.dcm": [255, 125, 65, 30, 15, 5, 5, 0, 0],
    "JPEGLSNearLossless_16.dcm": [65535, 32765, 16385, 4095, 1025, 255, 65, 15, 5, 0],
}
# 12-bit JPEG: dcmtk has a libjpeg of its own for it.
BY_DCMTK = ("JPGExtended.dcm", "JPEG-lossy.dcm")


@dataclass(frozen=True)
class Known:
    """What an image must be.

    Attributes
    ----------
    values : ndarray of shape (H, W) or (H, W, 3)
        After modality LUT or palette, before window.
    light : ndarray of the same shape
        0 dark to 1 bright: after window and polarity.
    tolerance : float
        Greatest difference of `values` that two decoders of lossy streams may have; 0 where nothing is lossy.
    """

    values: Array
    light: Array
    tolerance: float


def known(path: Path, frame: int, twins: Path) -> Known:
    """Compute one frame of `path`; `twins` is a second folder to look for its uncompressed twin."""
    ds = pydicom.dcmread(path)
    tolerance = 3.0 if ds.file_meta.TransferSyntaxUID in LOSSY else 0.0
    if path.name in BY_DCMTK:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dcmdjpeg", path, Path(folder, "a.dcm")], check=True, capture_output=True)
            plain = pydicom.dcmread(Path(folder, "a.dcm"))
            return Known(*_displayed(plain, _stored(plain, frame), frame), 1.0)
    if path.name in STEPS:
        stored = np.repeat(np.repeat(STEPS[path.name], 5)[:, None], ds.Columns, axis=1)
    elif path.name in TWINS:
        twin, tolerance = TWINS[path.name]
        stored = _stored(pydicom.dcmread(_find(twin, path.parent, twins)), frame)
    else:
        stored = _stored(ds, frame)
    return Known(*_displayed(ds, stored, frame), tolerance)


def _find(name: str, *folders: Path) -> Path:
    return next(folder / name for folder in folders if (folder / name).exists())


def _stored(ds: Dataset, frame: int) -> Array:
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        return _native(ds, frame, "<" if syntax != uid.ExplicitVRBigEndian else ">")
    coded = get_frame(ds.PixelData, frame, number_of_frames=int(ds.get("NumberOfFrames") or 1))
    if syntax == uid.RLELossless:
        return _typed(ds, _run_lengths(ds, coded))
    if syntax == uid.JPEGBaseline8Bit:
        picture = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_UNCHANGED)
        return picture if picture.ndim == 2 else picture[:, :, ::-1]
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):  # by dcm2niix' decoder; the pinned one is libjpeg-turbo
        return _typed(ds, imagecodecs.jpegsof3_decode(coded).reshape(-1))
    return _jpeg_2000(ds, coded)


def _native(ds: Dataset, frame: int, order: str) -> Array:
    """PS3.5 8.1 and 8.2: words of the file, planes put behind each other, unused bits cut off."""
    if ds.PhotometricInterpretation == "YBR_FULL_422":  # Cb and Cr once for two pixels: Y Y Cb Cr
        words = np.frombuffer(ds.PixelData, np.uint8)[: ds.Rows * ds.Columns * 2].reshape(ds.Rows, -1, 4)
        chroma = np.repeat(words[:, :, 2:], 2, axis=1)
        return _rgb(np.dstack([words[:, :, :2].reshape(ds.Rows, ds.Columns), chroma]))
    size = ds.BitsAllocated // 8
    count = ds.Rows * ds.Columns * ds.SamplesPerPixel
    data = ds.PixelData
    if order == ">" and size == 1 and ds["PixelData"].VR == "OW":  # bytes lie in words, and words are turned round
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    words = np.frombuffer(data, f"{order}u{size}")[frame * count : (frame + 1) * count]
    if ds.SamplesPerPixel == 3 and ds.PlanarConfiguration == 1:
        words = words.reshape(3, -1).T
    return _typed(ds, words)


def _typed(ds: Dataset, words: Array) -> Array:
    """Words to the sign, the depth and the shape of the header."""
    pixels = words.astype(np.int64) & (2**ds.BitsStored - 1)
    if ds.PixelRepresentation == 1:
        pixels = np.where(pixels >= 2 ** (ds.BitsStored - 1), pixels - 2**ds.BitsStored, pixels)
    pixels = pixels.reshape((ds.Rows, ds.Columns, 3)[: 2 if ds.SamplesPerPixel == 1 else 3])
    return _rgb(pixels) if ds.PhotometricInterpretation == "YBR_FULL" else pixels


def _rgb(ybr: Array) -> Array:
    """PS3.3 C.7.6.3.1.2, solved for R, G and B."""
    luma, blue, red = (ybr[..., channel].astype(np.float64) for channel in range(3))
    rgb = (
        luma + 1.402 * (red - 128),
        luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luma + 1.772 * (blue - 128),
    )
    return np.clip(np.rint(np.stack(rgb, axis=-1)), 0, 255)


def _run_lengths(ds: Dataset, coded: bytes) -> Array:
    """PS3.5 annex G: PackBits segments, a byte plane each, the most significant byte first."""
    count, *offsets = struct.unpack("<16I", coded[:64])
    planes = []
    for begin, end in zip(offsets[:count], [*offsets[1:count], len(coded)], strict=True):
        plane, place = bytearray(), begin
        while place < end and len(plane) < ds.Rows * ds.Columns:
            head = coded[place]
            if head < 128:
                plane += coded[place + 1 : place + 2 + head]
                place += 2 + head
            else:
                plane += coded[place + 1 : place + 2] * (257 - head)
                place += 2
        planes.append(np.frombuffer(bytes(plane), np.uint8).astype(np.int64))
    size = ds.BitsAllocated // 8
    samples = [
        sum(planes[sample * size + byte] << 8 * (size - 1 - byte) for byte in range(size))
        for sample in range(ds.SamplesPerPixel)
    ]
    return np.stack(samples, axis=-1)


def _jpeg_2000(ds: Dataset, coded: bytes) -> Array:
    """Grey by Pillow, colour by OpenCV: each refuses some of what the other reads."""
    if ds.SamplesPerPixel == 3:
        return cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    with PIL.Image.open(io.BytesIO(coded)) as picture:
        pixels = np.asarray(picture).astype(np.int64)
    precision, signed = _siz(coded)
    pixels >>= max(0, 16 - precision) if precision > 8 else 0  # Pillow fills 16 bits
    if signed:  # and moves signed samples up to be unsigned
        pixels = pixels - 2 ** (precision - 1)
    if ds.PixelRepresentation == 1 and not signed:  # the header tells the truth about the sign of its bits
        pixels = np.where(pixels >= 2 ** (precision - 1), pixels - 2**precision, pixels)
    return pixels


def _siz(coded: bytes) -> tuple[int, bool]:
    """Precision and sign of the first component, ISO/IEC 15444-1 A.5.1."""
    depth = coded[coded.index(b"\xff\x4f\xff\x51") + 42]
    return (depth & 0x7F) + 1, bool(depth & 0x80)


def _displayed(ds: Dataset, stored: Array, frame: int) -> tuple[Array, Array]:
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        if ds.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian:  # pydicom reads the table as little endian
            for colour in ("Red", "Green", "Blue"):
                table = ds[f"{colour}PaletteColorLookupTableData"]
                table.value = np.frombuffer(table.value, ">u2").astype("<u2").tobytes()
        rgb = apply_color_lut(stored.astype(np.uint8), ds)
        return rgb, rgb / (2.0 ** ds.RedPaletteColorLookupTableDescriptor[2] - 1)
    if ds.SamplesPerPixel == 3:
        return stored, stored / (2.0**ds.BitsStored - 1)
    ds = _of_frame(ds, frame)
    values = np.asarray(apply_modality_lut(stored, ds))
    light = _light(ds, values)
    return values, 1.0 - light if ds.PhotometricInterpretation == "MONOCHROME1" else light


def _of_frame(ds: Dataset, frame: int) -> Dataset:
    """Rescale and window of enhanced objects, which pydicom does not look for where they are (C.7.6.16)."""
    if "PerFrameFunctionalGroupsSequence" not in ds:
        return ds
    for group in (ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence[frame]):
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if macro in group:
                ds.update(group[macro][0])
    return ds


def _light(ds: Dataset, values: Array) -> Array:
    """pydicom's window or table, as a share of its own output range; without one what docs/dicom-support.md says."""
    if "VOILUTSequence" in ds:
        return apply_voi_lut(values, ds) / (2.0 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
    if "WindowWidth" in ds:
        low, high = apply_voi_lut(np.array([-1e9, 1e9]), ds)
        return (apply_voi_lut(values.astype(np.float64), ds) - low) / (high - low)
    if ds.BitsStored == 8 and "ModalityLUTSequence" not in ds:
        return values / 255.0
    return (values - values.min()) / (values.max() - values.min())
