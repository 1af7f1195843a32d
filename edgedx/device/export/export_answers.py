"""What people answered, out of an output folder into one signed file (`clinic.answers_export`), on the record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath

from edgedx._version import __version__
from edgedx.core.bundle.manifest import Bundle, Manifest
from edgedx.core.bundle.signing import SigningKey
from edgedx.core.errors import DataError, ImageError, InputOutputError, UsageError
from edgedx.core.files import read_json
from edgedx.core.progress import progress
from edgedx.core.result import Result
from edgedx.device.clinic.answers import ANSWERS, Answer, Answers, findings_of
from edgedx.device.clinic.answers_export import AnswersManifest, ExportedAnswer, png_of, write_answers
from edgedx.device.decode.decoder import Decoder, FileChanged
from edgedx.device.install.state import now
from edgedx.device.operation.audit_file import AuditFile
from edgedx.dicom.pseudonyms import Pseudonyms
from edgedx.dicom.reading.header import silence_pydicom

from .deidentified_copies import load_key

EXPORTED = {"event": "110106", "meaning": "Export"}
_HEAD = 4 << 20
"""Bytes that a header is looked for in."""


@dataclass(frozen=True)
class Asked:
    """What is to be exported.

    Attributes
    ----------
    images : bool
        The model's canvas of each image, too.
    pixels_checked : bool
        Somebody has looked: no name is burned into any of the images.
    since, until : str
        Days (``2026-11-27``), both included; empty: no limit.
    inbox : Path, optional
        Where the images are.
    """

    site: str
    images: bool = False
    pixels_checked: bool = False
    since: str = ""
    until: str = ""
    inbox: Path | None = None


@dataclass
class _Pictures:
    """Canvases and patients by SHA-256, and how many images were left out, by code."""

    canvases: dict[str, bytes] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def export_answers(bundle: Bundle, out: Path, to: Path, asked: Asked, keys: Sequence[SigningKey]) -> AnswersManifest:
    """Write the answers to one bundle into one file.

    Raises
    ------
    DataError
        There are none to this bundle, or more images than one file takes.
    InputOutputError, StorageError
        No answers there, no inbox, or something cannot be read or written.
    UsageError
        The file would lie in the output folder or the inbox.
    """
    _check_target(to, out, asked)
    answers = Answers(_database(out), read_only=True)
    try:
        newest = [one for one in answers.latest() if _within(one, asked)]
        blind = {(one.key, one.person): one for one in answers.blind()}
    finally:
        answers.close()
    chosen = [one for one in newest if one.bundle == bundle.digest]
    if not chosen:
        raise DataError(
            f"none of {len(newest)} answers in {out} is to {bundle.manifest.name} {bundle.manifest.version}, bundle "
            f"{bundle.digest[:12]}",
            next_step="name the bundle that was answered: --bundle FILE.edgedx",
        )
    pictures = _pictures(chosen, bundle.manifest, out, asked) if asked.images else _Pictures()
    if other := len(newest) - len(chosen):
        pictures.left_out["OTHER_BUNDLE"] = other
    people = {name: f"p{number}" for number, name in enumerate(dict.fromkeys(one.person for one in chosen), 1)}
    rows = [_row(one, blind.get((one.key, one.person)), bundle.manifest, people, pictures.patients) for one in chosen]
    audit = AuditFile(out, bundle.digest)
    try:
        audit.append(EXPORTED, user=os.getuid(), form="answers", site=asked.site, answers=len(rows),
                     images=len(pictures.canvases))  # fmt: skip
        audit.flush()
    finally:
        audit.close()
    return write_answers(
        to,
        (bundle.digest, bundle.manifest),
        rows,
        pictures.canvases,
        site=asked.site,
        created=now()[:10],
        edgedx=__version__,
        left_out=pictures.left_out,
        keys=keys,
    )


def _check_target(to: Path, out: Path, asked: Asked) -> None:
    if asked.images and (asked.inbox is None or not asked.inbox.is_dir()):
        raise InputOutputError(f"no folder {asked.inbox}", next_step="name the scanner's inbox: --inbox FOLDER")
    for own in filter(None, (out, asked.inbox)):
        if own.resolve() in to.resolve().parents:
            raise UsageError(f"--to {to} lies inside {own}", next_step="choose a place outside of inbox and results")


def _database(out: Path) -> Path:
    path = out / ANSWERS
    if not path.is_file():
        raise InputOutputError(
            f"no {ANSWERS} in {out}: nobody has answered there", next_step="name the --out of the page and the scanner"
        )
    return path


def _within(answer: Answer, asked: Asked) -> bool:
    return (asked.since or answer.time[:10]) <= answer.time[:10] <= (asked.until or answer.time[:10])


def _row(
    one: Answer, blind: Answer | None, manifest: Manifest, people: dict[str, str], patients: dict[str, str]
) -> ExportedAnswer:
    def plain(text: str | None) -> str:
        several = manifest.task == "multilabel" and text is not None
        return "|".join(name for name in manifest.classes if name in findings_of(text or "")) if several else text or ""

    return ExportedAnswer(
        image=one.sha256,
        key=one.key,
        bundle=one.bundle,
        time=one.time[:10],
        verdict=one.verdict,
        label=plain(one.label),
        shown=plain(one.shown),
        blind=blind is not None,
        reason=one.reason or "",
        person=people[one.person],
        patient=patients.get(one.sha256, ""),
        blind_label="" if blind is None else plain(blind.label),
    )


def _pictures(answers: Iterable[Answer], manifest: Manifest, out: Path, asked: Asked) -> _Pictures:
    found, names = _Pictures(), load_key(out)
    keys = {one.sha256: one.key for one in answers}
    policy = manifest.accept.multi_frame
    decoder = Decoder(manifest.preprocess, frames="refuse" if policy == "each" else policy)
    try:
        with progress("reading images", len(keys)) as bar:
            for sha256, key in keys.items():
                try:
                    _picture(found, sha256, key, decoder, names, out, asked)
                except ImageError as error:
                    found.left_out[error.code] += 1
                except FileChanged:
                    found.left_out["ABSENT"] += 1
                bar.advance()
    finally:
        decoder.close()
    return found


def _picture(
    found: _Pictures, sha256: str, key: str, decoder: Decoder, names: Pseudonyms, out: Path, asked: Asked
) -> None:
    path = _image_of(out, key, asked.inbox)
    if path is None:
        raise ImageError("ABSENT", "not in the inbox")
    header = _header(path)
    if not asked.pixels_checked and header.get("BurnedInAnnotation") != "NO":
        raise ImageError("BURNED_IN", "nothing says that no name is in the pixels")
    canvas = decoder.decode(path, sha256).canvas
    found.canvases[sha256] = png_of(canvas)
    if patient := names.patient(header.get("PatientID", ""), header.get("IssuerOfPatientID", "")):
        found.patients[sha256] = patient


def _image_of(out: Path, key: str, inbox: Path | None) -> Path | None:
    try:
        result = Result.model_validate(read_json(out / "results" / f"{key[:32]}.json"))
    except (InputOutputError, ValueError):
        return None
    name = PurePosixPath(result.source.name)
    if inbox is None or result.key != key or name.is_absolute() or ".." in name.parts:
        return None
    return inbox / name if (inbox / name).is_file() else None


def _header(path: Path) -> dict[str, str]:
    """Who it is of, and whether something is burned in; nothing of what is no DICOM file or cannot be read."""
    import pydicom

    silence_pydicom()
    tags = ["PatientID", "IssuerOfPatientID", "BurnedInAnnotation"]
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        found = pydicom.dcmread(BytesIO(head), specific_tags=list(tags), stop_before_pixels=True)
        return {name: str(found.get(name) or "").strip() for name in tags}
    except Exception:  # its message quotes values
        return {}
