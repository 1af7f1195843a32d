"""Images as a hospital has them: a folder for each class, or DICOM files and a table of another program."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.dicom.writing.make import PatientFacts, write_dicom

CLASSES = ("normal", "pneumonia")


@dataclass(frozen=True)
class Film:
    """One radiograph."""

    label: str
    patient: str
    pixels: NDArray[np.uint8]


def source() -> str:
    """Where the films are from, for people."""
    return "drawn films" if _real() is None else "chest X-rays of children, Kermany et al. 2018"


def _real() -> Path | None:
    folder = Path(os.environ.get("EDGEDX_DATA", "")) / "cxr_pneumonia_kermany"
    return folder if (folder / "labels.csv").is_file() else None


def films(each: int, *, after: int = 0, made: bool = False) -> Iterator[Film]:
    """`each` radiographs of either class, by turns: real ones (Kermany et al. 2018) below EDGEDX_DATA, else drawn ones.

    `after` leaves out so many of either class: films that nobody has trained on.
    """
    real = _real()
    if made or real is None:
        yield from _drawn(each, seed=after)
        return
    with (real / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    numbers = {name: place for place, name in enumerate(sorted({row["patient_id"] for row in rows}))}
    by_class = [[row for row in rows if row["label"] == label][after : after + each] for label in CLASSES]
    for row in (row for pair in zip(*by_class, strict=True) for row in pair):
        pixels = cv2.imread(str(real / row["image"]), cv2.IMREAD_GRAYSCALE)
        yield Film(row["label"], f"{numbers[row['patient_id']]:04d}", np.asarray(pixels, np.uint8))


def _drawn(each: int, seed: int) -> Iterator[Film]:
    """Two dark lungs in a light chest, with a bright spot in one of them where there is a finding."""
    rng = np.random.default_rng(seed)
    for number in range(2 * each):
        label = CLASSES[number % 2]
        pixels = np.full((192, 192), 170, np.uint8)
        for side in (-1, 1):
            centre = (96 + side * int(rng.integers(38, 46)), int(rng.integers(92, 104)))
            cv2.ellipse(pixels, centre, (int(rng.integers(26, 32)), int(rng.integers(56, 66))), 0, 0, 360, 60, -1)
        if label == "pneumonia":
            spot = (96 + int(rng.choice([-42, 42])), int(rng.integers(70, 130)))
            cv2.circle(pixels, spot, int(rng.integers(12, 18)), 190, -1)
        grain = rng.normal(0, 8, pixels.shape)
        yield Film(label, f"{number:04d}", (cv2.GaussianBlur(pixels, (0, 0), 3) + grain).clip(0, 255).astype(np.uint8))


def class_folders(target: Path, each: int, *, after: int = 0, made: bool = False) -> Path:
    """``TARGET/normal`` and ``TARGET/pneumonia``, with files named by patient and number."""
    for number, film in enumerate(films(each, after=after, made=made)):
        path = target / film.label / f"patient{film.patient}_{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), film.pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return target


def dicom_study(target: Path, each: int, *, after: int = 0, made: bool = False) -> Path:
    """A tree of DICOM files without suffixes, and a table as a spreadsheet of Central Europe writes it.

    Semicolons, a byte order mark, backslashes in paths, a column that nobody asked for.
    """
    rows = []
    for number, film in enumerate(films(each, after=after, made=made)):
        path = target / "DICOM" / f"ST{int(film.patient):06d}" / f"IM{number:06d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pair = number // 2
        patient = PatientFacts(patient_id=f"PID-{film.patient}", sex="MF"[pair % 2], age_years=1 + pair % 5)
        write_dicom(path, film.pixels, kind="CR", subject=patient, view="AP", instance_number=number + 1)
        inner = str(path.relative_to(target)).replace("/", "\\")
        rows.append((inner, patient.patient_id, film.label, f"{pair % 28 + 1:02d}.03.2026"))
    with (target / "export.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream, delimiter=";")
        table.writerow(["File", "PatientID", "Diagnosis", "Reported"])
        table.writerows(rows)
    return target
