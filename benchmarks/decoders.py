"""The pinned decoders against dcmtk, and against those that they replaced, bit for bit and in speed.

    python benchmarks/decoders.py [--report benchmarks/results/decoders.json]

Every compressed file of pydicom and pydicom-data, and files that dcmtk's dcmcjpeg and dcmcjpls make of a chest phantom
of 2048 x 2048 pixels and 12 bits, of the same with signed values, and of a colour image: JPEG Lossless of every
selection value, SV1, 8- and 12-bit lossy, progressive, JPEG-LS. Of what is lossless the pixels must be those of the
source. "dcmtk" is dcmdjpeg or dcmdjpls (JPEG 2000 it does not read). The replaced packages (pylibjpeg-openjpeg,
pyjpegls, Pillow) are compared where they are installed; J2K_pixelrep_mismatch differs from OpenJPEG's own words, whose
sign the header corrects. Times are of the frame alone, median of several.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from edgedx.core.errors import EdgedxError
from edgedx.core.files import write_json
from edgedx.dicom.reading.header import read_file_meta, read_header, silence_pydicom
from edgedx.dicom.reading.layout import read_layout
from edgedx.dicom.reading.pixels import Frame, decode, decoders
from edgedx.dicom.reading.read import pixel_element
from edgedx.dicom.writing.make import write_dicom
from edgedx.dicom.writing.phantom import BITS_STORED, LABELS, draw_phantom
from edgedx.lab.run.stage import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from dcmtk import dcmtk  # noqa: E402
from outcomes import packages  # noqa: E402

_RUNS = 5
_LOSSLESS = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"}
_JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
_REPLACED = {
    "1.2.840.10008.1.2.4.50": "pillow",
    **dict.fromkeys(_JPEG_LS, "pyjpegls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)), "pylibjpeg"),
}
_ENCODERS = {
    "lossless-sv1": ("dcmcjpeg", "+e1"),
    **{f"lossless-sv{number}": ("dcmcjpeg", "+el", "+sv", str(number)) for number in range(1, 8)},
    "pseudo-lossless-12": ("dcmcjpeg", "+e1", "+pl"),
    "baseline": ("dcmcjpeg", "+eb"),
    "extended-12": ("dcmcjpeg", "+ee", "+bt"),
    "jpeg-ls": ("dcmcjpls", "+el"),
    "jpeg-ls-near": ("dcmcjpls", "+en"),
}


def sources(folder: Path) -> Iterator[Path]:
    """A radiograph as a detector makes it, the same with a sign, and colour."""
    rng = np.random.default_rng(0)
    small = draw_phantom(LABELS[0], rng).astype(np.float32)
    large = cv2.resize(small, (2048, 2048), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (2048, 2048))
    pixels = np.clip(np.rint(large), 0, 2**BITS_STORED - 1).astype(np.uint16)
    write_dicom(folder / "grey.dcm", pixels, bits_stored=BITS_STORED)
    dataset = pydicom.dcmread(folder / "grey.dcm")
    dataset.PixelRepresentation = 1
    dataset.PixelData = (pixels.astype(np.int16) - 2048).tobytes()
    dataset.save_as(folder / "signed.dcm")
    colour = (np.dstack([pixels, pixels[::-1], pixels.T])[:512, :512] >> 4).astype(np.uint8)
    write_dicom(folder / "colour.dcm", colour, kind="SC")
    yield from (folder / name for name in ("grey.dcm", "signed.dcm", "colour.dcm"))


def made(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, file and source (where lossless) of everything that dcmtk encodes."""
    for source in sources(folder):
        for name, (program, *options) in _ENCODERS.items():
            target = folder / f"{source.stem}-{name}.dcm"
            done = subprocess.run([_program(program), *options, source, target], capture_output=True, check=False)
            if done.returncode == 0 and target.exists():
                lossless = (
                    str(pydicom.dcmread(target).file_meta.TransferSyntaxUID) in _LOSSLESS and "pseudo" not in name
                )
                yield target.stem, target, source if lossless else None


def packaged() -> Iterator[tuple[str, Path, Path | None]]:
    """Compressed files of pydicom's packages."""
    for package, folder in packages().items():
        for path in sorted(folder.rglob("*.dcm")):
            try:
                syntax = read_file_meta(path.read_bytes()).transfer_syntax
            except EdgedxError:
                continue
            if syntax in decoders() and syntax.startswith("1.2.840.10008.1.2.4."):
                yield f"{package}: {path.name}", path, None


def pinned(path: Path) -> Callable[[], Frame]:
    """What edgedx decodes: stored values, colour as RGB."""
    data = path.read_bytes()
    meta = read_file_meta(data)
    parsed = read_header(data, meta)
    layout = read_layout(parsed.dataset, 1 << 29, "middle")
    element = pixel_element(parsed)
    return lambda: decode(data, element, parsed.dataset, meta.transfer_syntax, layout)


def by_dcmtk(path: Path, folder: Path) -> np.ndarray | None:
    """The same by dcmtk, or None where it does not read the file."""
    syntax = str(pydicom.dcmread(path).file_meta.TransferSyntaxUID)
    target = folder / "plain.dcm"
    target.unlink(missing_ok=True)
    program = _program("dcmdjpls" if syntax in _JPEG_LS else "dcmdjpeg")
    done = subprocess.run([program, path, target], capture_output=True, check=False)
    if done.returncode or not target.exists():
        return None
    return pinned(target)().pixels


def by_replaced(path: Path) -> tuple[str, Callable[[], np.ndarray]] | None:
    """What the package before decodes, by pydicom; None where it is not installed."""
    dataset = pydicom.dcmread(path)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    plugin = _REPLACED.get(syntax)
    frame = int(dataset.get("NumberOfFrames") or 1) // 2 if int(dataset.get("NumberOfFrames") or 1) > 1 else 0
    if plugin == "pylibjpeg":
        try:
            from openjpeg.utils import decode as openjpeg
        except ImportError:
            return None
        coded = get_frame(dataset.PixelData, frame, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
        return "pylibjpeg-openjpeg", lambda: openjpeg(coded)
    if plugin is None or plugin not in get_decoder(UID(syntax)).available_plugins:
        return None
    return plugin, lambda: get_decoder(UID(syntax)).as_array(dataset, index=frame, decoding_plugin=plugin)[0]


def compare(name: str, path: Path, source: Path | None, folder: Path) -> dict[str, Any]:
    """One row of the report."""
    row: dict[str, Any] = {"file": name, "transfer_syntax": read_file_meta(path.read_bytes()).transfer_syntax}
    try:
        ours = pinned(path)
        frame = ours()
    except EdgedxError as error:
        return row | {"refused": getattr(error, "code", type(error).__name__)}
    pixels = frame.pixels
    row |= {"decoder": frame.decoder, "shape": list(pixels.shape), "ms": _median(ours)}
    if source is not None:
        row["equal_to_source"] = bool(np.array_equal(pixels, pinned(source)().pixels))
    other = by_dcmtk(path, folder)
    if other is not None:
        row["most_difference_to_dcmtk"] = _difference(pixels, other)
    before = by_replaced(path)
    if before is not None:
        try:
            row |= {"most_difference_to_replaced": _difference(pixels, before[1]()), "replaced": before[0]}
            row["replaced_ms"] = _median(before[1])
        except Exception as error:
            row |= {"replaced": before[0], "replaced_fails": type(error).__name__}
    return row


def _difference(pixels: np.ndarray, other: np.ndarray) -> float | str:
    if pixels.shape != other.shape:
        return "another shape"
    return float(np.abs(pixels.astype(np.int64) - other.astype(np.int64)).max())


def _median(action: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun)
    return round(1e3 * statistics.median(seconds), 3)


def _program(name: str) -> str:
    path = dcmtk(name)
    if path is None:
        raise SystemExit("dcmtk is not installed: apt-get install dcmtk")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "decoders.json")
    options = parser.parse_args()
    silence_pydicom()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [compare(*one, folder) for one in (*packaged(), *made(folder))]
    for row in rows:
        print(*(f"{key}={value}" for key, value in row.items()))
    write_json(options.report, {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
