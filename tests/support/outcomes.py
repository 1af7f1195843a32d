"""What edgedx makes of every DICOM file that pydicom and pydicom-data ship, as rows of outcomes.csv.

``python tests/support/outcomes.py`` writes the table anew: look at the difference, and the images, before keeping it.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError
from edgedx.core.image import Image, VoiWindow
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.reading.header import silence_pydicom
from edgedx.dicom.reading.open import Decoded, open_image

TABLE = Path(__file__).with_name("outcomes.csv")
KEY = ("package", "file", "frames")
HEADER = ("sop_class", "transfer_syntax", "photometric")
WORDS = (*HEADER, "outcome", "code", "decoder", "shape", "bits", "voi", "polarity")
NUMBERS = ("low", "high", "p1", "p50", "p99", "light")
COLUMNS = (*KEY, *WORDS, *NUMBERS)
_NOT_DICOM = {".py", ".pyc", ".json", ".txt", ".md", ".dump", ".icc", ".gz"}


@dataclass(frozen=True)
class Case:
    """One file, and what is to be done where it has several frames."""

    package: str
    file: str
    path: Path
    frames: FramePolicy

    @property
    def key(self) -> tuple[str, str, str]:
        return self.package, self.file, self.frames


def packages() -> dict[str, Path]:
    """Where the files are; pydicom-data only where it is installed."""
    folders = {"pydicom": Path(pydicom.__file__).parent / "data"}
    if (store := importlib.util.find_spec("data_store")) and store.origin:
        folders["pydicom-data"] = Path(store.origin).parent / "data"
    return folders


def cases() -> Iterator[tuple[Case, Decoded | ImageError]]:
    """Every file as it is read by default, and those of several frames once more, for their middle one."""
    for package, folder in packages().items():
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.suffix in _NOT_DICOM or path.name == "README":
                continue
            name = path.relative_to(folder).as_posix()
            found = _read(path, "refuse")
            yield Case(package, name, path, "refuse"), found
            if isinstance(found, ImageError) and found.code == Code.MULTI_FRAME:
                yield Case(package, name, path, "middle"), _read(path, "middle")


def _read(path: Path, frames: FramePolicy) -> Decoded | ImageError:
    try:
        return open_image(path, frames=frames)
    except ImageError as error:
        return error


def row(case: Case, found: Decoded | ImageError) -> dict[str, str]:
    """One line of the table; empty where there is nothing to say."""
    silence_pydicom()
    line = dict.fromkeys(COLUMNS, "") | dict(zip(KEY, case.key, strict=True)) | _header(case.path)
    if isinstance(found, ImageError):
        return line | {"outcome": Code(found.code).outcome, "code": found.code}
    image = found.image
    return line | {
        "outcome": "read",
        "decoder": found.decoder.split(" ")[0],
        "shape": "x".join(map(str, image.pixels.shape)),
        "bits": image.meta["BitsStored"],
        "voi": "" if image.voi is None else "window" if isinstance(image.voi, VoiWindow) else "table",
        "polarity": "inverted" if image.inverted else "",
        **_digest(image),
    }


def _header(path: Path) -> dict[str, str]:
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:  # no Part 10 header
        return {}
    meta = ds.file_meta
    return {
        "sop_class": str(ds.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""),
        "transfer_syntax": str(meta.get("TransferSyntaxUID") or ""),
        "photometric": str(ds.get("PhotometricInterpretation") or ""),
    }


def _digest(image: Image) -> dict[str, str]:
    """Range and percentiles of the values, and the mean light in percent, which tells window and polarity."""
    colour = image.pixels.ndim == 3
    spec = PreprocessSpec(
        size=(64, 64),
        colour="rgb" if colour else "grey",
        window="voi",
        mean=(0.5,) * (3 if colour else 1),
        std=(0.25,) * (3 if colour else 1),
    )
    low, middle, high = np.percentile(image.pixels.astype(np.float64), (1, 50, 99))
    light = 100 * canvas(image, spec).mean() / 65535
    numbers = (*image.value_range, low, middle, high, light)
    return {name: f"{number:.6g}" for name, number in zip(NUMBERS, numbers, strict=True)}


def write_table() -> None:
    with TABLE.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row(case, found) for case, found in cases())


def read_table() -> dict[tuple[str, ...], dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return {tuple(line[name] for name in KEY): line for line in csv.DictReader(stream)}


if __name__ == "__main__":
    write_table()
