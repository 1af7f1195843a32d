"""Built-in chest phantom: synthetic radiographs with a known answer, so that the whole flow runs without any data set.

A drawing, not anatomy: an elliptic thorax with two lungs, ribs, clavicles, spine, heart and vessels, under random
pose, build, exposure and noise. Patients labelled ``opacity`` have one to three faint soft-edged densities in a lung.
What it teaches a network has no clinical value whatever; it tests software.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.files import write_text
from edgedx.core.table import csv_text

from .make import PatientFacts, write_dicom

LABELS = ("normal", "opacity")
COLUMNS = ("image", "label", "patient_id", "sex", "age", "view")
BOXES, BOX_COLUMNS = "boxes.csv", ("image", "left", "top", "width", "height")
BITS_STORED = 12

_Plane = NDArray[np.float32]
_Box = tuple[int, int, int, int]  # left, top, width, height, pixels
_PEAK = 2**BITS_STORED - 1
_SPREADS = 2.0  # as far as an opacity's box reaches, standard deviations: an eighth of its peak is left there
_POSITIVE_SHARE = 0.45
_SIDES = (200, 420)  # pixels


@dataclass(frozen=True)
class _Blob:
    """A soft-edged density in body coordinates: centre, standard deviations, tilt (radians), peak attenuation."""

    x: float
    y: float
    sigma_x: float
    sigma_y: float
    tilt: float
    peak: float


@dataclass(frozen=True)
class _Body:
    """One patient: everything that stays the same between his images."""

    lung_x: float
    lung_w: float
    lung_h: float
    diaphragm: float
    heart: float
    rib_step: float
    rib_phase: float
    rib_peak: float
    tissue: float
    soft: tuple[_Blob, ...]
    opacities: tuple[_Blob, ...]  # those of `soft` that the label is about


def write_phantoms(folder: Path | str, patients: int, seed: int) -> Path:
    """Write synthetic chest radiographs and their labels.

    Each patient has 2 to 4 images (CR Image Storage, 12 bits in 16, MONOCHROME1 and MONOCHROME2 mixed, most with a
    window) and one label. The same seed gives the same bytes on the same versions of NumPy and OpenCV, and the first
    patients of a larger run are those of a smaller one.

    Parameters
    ----------
    folder : path
        Gets ``labels.csv``, ``images/`` and ``boxes.csv``, a row for each opacity of an image; made when missing.
    patients : int
        At least 1.
    seed : int
        Not negative.

    Returns
    -------
    Path
        ``labels.csv`` with the columns image (path relative to it), label, patient_id, sex, age (years), view.

    Raises
    ------
    ValueError
        `patients` or `seed` out of range.
    StorageError
        The disk is full or cannot be written.
    """
    if patients < 1 or seed < 0:
        raise ValueError("patients is at least 1 and seed at least 0")
    folder = Path(folder)
    rows: list[tuple[str, ...]] = []
    boxes: list[tuple[str | int, ...]] = []
    for number in range(patients):
        written, found = _write_patient(folder, number, np.random.default_rng([seed, number]), seed)
        rows += written
        boxes += found
    write_text(folder / BOXES, csv_text(BOX_COLUMNS, boxes))
    path = folder / "labels.csv"  # last: who finds it finds all of it
    write_text(path, csv_text(COLUMNS, rows))
    return path


def draw_phantom(label: str, rng: np.random.Generator) -> NDArray[np.uint16]:
    """One image of a new random patient, without a file around it.

    Parameters
    ----------
    label : str
        ``normal`` or ``opacity``.
    rng : numpy Generator

    Returns
    -------
    ndarray of shape (H, W), uint16
        12-bit values, high is dense (MONOCHROME2).
    """
    return _expose(_grow(label, rng), "PA", rng)[0]


def _write_patient(
    folder: Path, number: int, rng: np.random.Generator, seed: int
) -> tuple[list[tuple[str, ...]], list[tuple[str | int, ...]]]:
    """Rows of ``labels.csv`` and of ``boxes.csv``."""
    label = LABELS[int(rng.random() < _POSITIVE_SHARE)]
    patient_id = f"PH{seed:04d}-{number:05d}"
    sex = "MF"[int(rng.integers(2))]
    age = int(rng.integers(18, 91))
    subject = PatientFacts(patient_id, f"PHANTOM^{number:05d}", sex, age)
    body = _grow(label, rng)
    rows: list[tuple[str, ...]] = []
    boxes: list[tuple[str | int, ...]] = []
    for instance in range(1, int(rng.integers(2, 5)) + 1):
        view = "PA" if rng.random() < 0.7 else "AP"
        pixels, found = _expose(body, view, rng)
        photometric = "MONOCHROME2"
        if rng.random() < 0.4:
            photometric, pixels = "MONOCHROME1", (_PEAK - pixels).astype(np.uint16)
        window = None
        if rng.random() < 0.85:
            low, high = np.percentile(pixels, (1, 99)) + rng.normal(0, 40, 2)
            window = (round(float(low + high) / 2), max(200, round(float(high - low) * 1.1)))
        name = f"images/{patient_id}_{instance}.dcm"
        write_dicom(
            folder / name,
            pixels,
            kind="CR",
            subject=subject,
            photometric=photometric,
            bits_stored=BITS_STORED,
            window=window,
            view=view,
            comments="SYNTHETIC PHANTOM, NOT A PATIENT",
            instance_number=instance,
        )
        rows.append((name, label, patient_id, sex, str(age), view))
        boxes += [(name, *box) for box in found]
    return rows, boxes


def _grow(label: str, rng: np.random.Generator) -> _Body:
    u = rng.uniform
    lung_x, lung_w, lung_h = u(0.42, 0.48), u(0.31, 0.37), u(0.68, 0.80)

    def in_lung(spread: float) -> tuple[float, float]:
        side = rng.choice((-1.0, 1.0))
        return side * (lung_x + u(-spread, spread) * lung_w), u(-0.62, 0.62) * lung_h * spread / 0.6 - 0.08

    blobs, opacities = [], []
    # Everybody has small dense dots (vessels end-on, calcifications) and hila of varying size: without such
    # look-alikes one threshold on local brightness would solve the task.
    for _ in range(int(rng.integers(1, 5))):
        size = u(0.012, 0.022)
        blobs.append(_Blob(*in_lung(0.75), size, size, 0.0, u(0.06, 0.16)))
    for side in (-1.0, 1.0):
        blobs.append(
            _Blob(side * u(0.16, 0.24), u(-0.12, 0.08), u(0.05, 0.09), u(0.08, 0.14), u(-0.6, 0.6), u(0.08, 0.20))
        )
    if label == "opacity":
        for _ in range(int(rng.integers(1, 4))):
            opacities.append(_Blob(*in_lung(0.6), u(0.07, 0.13), u(0.07, 0.13), u(0, np.pi), u(0.13, 0.30)))
    return _Body(
        lung_x=lung_x,
        lung_w=lung_w,
        lung_h=lung_h,
        diaphragm=u(0.48, 0.62),
        heart=u(0.85, 1.15),
        rib_step=u(0.155, 0.185),
        rib_phase=u(0, 1),
        rib_peak=u(0.06, 0.11),
        tissue=u(0.85, 1.15),
        soft=(*blobs, *opacities),
        opacities=tuple(opacities),
    )


def _expose(body: _Body, view: str, rng: np.random.Generator) -> tuple[NDArray[np.uint16], list[_Box]]:
    """One exposure: pose and size, attenuation, detector; and where the opacities are on it."""
    height, width = (int(side) for side in rng.integers(_SIDES[0], _SIDES[1] + 1, 2))
    x, y = _body_coordinates(height, width, rng)
    dense = _attenuation(body, x, y, 1.2 if view == "AP" else 1.0, rng)
    # Scatter and focal spot, then quantum noise, which is finer than the scatter.
    dense = np.asarray(cv2.GaussianBlur(dense, (0, 0), rng.uniform(0.5, 1.1)), np.float32)
    dense += rng.standard_normal(dense.shape, np.float32) * np.float32(rng.uniform(0.010, 0.028))
    value = rng.uniform(250, 800) + rng.uniform(1500, 2500) * np.clip(dense, 0, None) ** rng.uniform(0.8, 1.2)
    boxes = [box for blob in body.opacities if (box := _box_around(blob, x, y)) is not None]
    return np.asarray(np.clip(np.rint(value), 0, _PEAK), np.uint16), boxes


def _box_around(blob: _Blob, x: _Plane, y: _Plane) -> _Box | None:
    """The box around a density; None where it lies outside the image."""
    inside = _draw(blob, x, y) >= np.float32(blob.peak * np.exp(-0.5 * _SPREADS**2))
    if not inside.any():
        return None
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _body_coordinates(height: int, width: int, rng: np.random.Generator) -> tuple[_Plane, _Plane]:
    """Pixel grid to body coordinates, both about -1 to 1; the patient stands tilted, off-centre, near or far."""
    tilt, zoom = rng.normal(0, 0.045), rng.uniform(0.9, 1.12)
    px = (np.linspace(-1, 1, width, dtype=np.float32) - np.float32(rng.normal(0, 0.05)))[None, :]
    py = (np.linspace(-1, 1, height, dtype=np.float32) - np.float32(rng.normal(0, 0.05)))[:, None]
    c, s = np.float32(np.cos(tilt) * zoom), np.float32(np.sin(tilt) * zoom)
    return c * px + s * py, c * py - s * px


def _attenuation(body: _Body, x: _Plane, y: _Plane, heart_scale: float, rng: np.random.Generator) -> _Plane:
    """Sum of what the ray crosses, about 0 (air beside the patient) to 1.3 (spine, heart)."""
    ax = np.abs(x)
    thorax = _edge(1.0 - ((ax / 0.98) ** 2) ** 2 - (((y - 0.25) / 1.55) ** 2) ** 2, 0.06)
    lungs = _lungs(body, x, ax, y)
    total = thorax * np.float32(0.62 * body.tissue) + thorax * np.float32(0.22) * y  # the belly is thicker
    total -= lungs * np.float32(0.40)
    total += thorax * (_mediastinum(body, x, y, heart_scale) + _bones(body, ax, y))
    total += lungs * _texture(x.shape, rng)
    inside = np.float32(0.15) + np.float32(0.85) * lungs  # a density behind the heart or diaphragm hardly shows
    for blob in body.soft:
        total += inside * _draw(blob, x, y)
    return np.asarray(total, np.float32)


def _lungs(body: _Body, x: _Plane, ax: _Plane, y: _Plane) -> _Plane:
    taper = 1.0 - 0.28 * np.clip(-y / body.lung_h, 0, 1) ** 2  # narrow apex
    vertical = np.abs((y + 0.08) / body.lung_h)
    outline = 1.0 - ((ax - body.lung_x) / (body.lung_w * taper)) ** 2 - vertical * vertical**2
    dome = body.diaphragm + 0.05 * (x > 0) + 0.9 * (ax - body.lung_x * 0.9) ** 2  # the right dome is higher
    return _edge(outline, 0.07) * _edge(dome - y, 0.025)


def _mediastinum(body: _Body, x: _Plane, y: _Plane, heart_scale: float) -> _Plane:
    size = body.heart * heart_scale
    heart = 1.0 - ((x - 0.09 - 0.08 * y) / (0.33 * size)) ** 2 - ((y - 0.30) / (0.30 * size)) ** 2
    aorta = 1.0 - ((x - 0.10) / 0.09) ** 2 - ((y + 0.34) / 0.10) ** 2
    column = np.exp(-((x / 0.12) ** 2)) * (0.26 + 0.03 * np.cos(y * 38.0))  # vertebrae
    # Heart and spine do not simply add: a detector saturates behind both.
    return np.asarray(
        np.maximum(0.24 * _edge(heart, 0.30), column) + 0.05 * _edge(heart, 0.5) + 0.08 * _edge(aorta, 0.35), np.float32
    )


def _bones(body: _Body, ax: _Plane, y: _Plane) -> _Plane:
    span = _edge(0.93 - ax, 0.05) * _edge(ax - 0.06, 0.03) * _edge(0.75 - y, 0.08)
    back = _pulse((y - 0.55 * ax + 0.35 * ax**2) / body.rib_step + body.rib_phase, 0.15)
    front = _pulse((y + 0.75 * ax**2 - 0.1 * ax) / (body.rib_step * 1.15) + 0.4, 0.13) * _edge(ax - 0.35, 0.08)
    collar = np.exp(-(((y + 0.70 + 0.22 * ax) / 0.035) ** 2)) * _edge(0.85 - ax, 0.04)
    return span * (body.rib_peak * back + 0.6 * body.rib_peak * front) + 0.13 * collar


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> _Plane:
    """Lung markings: smooth noise at two scales, drawn small and enlarged, which is cheaper than a wide blur."""
    total = np.zeros(shape, np.float32)
    for cells, peak in ((14, 0.022), (36, 0.022)):
        grid = rng.standard_normal((cells, cells), np.float32) * np.float32(peak)
        total += cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return total


def _draw(blob: _Blob, x: _Plane, y: _Plane) -> _Plane:
    c, s = np.float32(np.cos(blob.tilt)), np.float32(np.sin(blob.tilt))
    dx, dy = x - np.float32(blob.x), y - np.float32(blob.y)
    along, across = (c * dx + s * dy) / np.float32(blob.sigma_x), (c * dy - s * dx) / np.float32(blob.sigma_y)
    return np.asarray(np.float32(blob.peak) * np.exp(np.float32(-0.5) * (along**2 + across**2)), np.float32)


def _edge(field: _Plane, softness: float) -> _Plane:
    """1 where `field` is positive, 0 where negative, smooth over `softness`."""
    return np.asarray(0.5 + 0.5 * np.tanh(field / np.float32(softness)), np.float32)


def _pulse(phase: _Plane, width: float) -> _Plane:
    """Periodic bumps at whole numbers of `phase`, `width` of the period wide."""
    offset = phase - np.rint(phase)
    return np.asarray(np.exp(-((offset / np.float32(width)) ** 2)), np.float32)
