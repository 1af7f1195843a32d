"""Answers of clinics, as they come in: signed exports, and plain labelled tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedx.core.bundle.signing import PublicKey
from edgedx.core.errors import GateRefused
from edgedx.core.files import canonical_json, sha256_bytes, sha256_file
from edgedx.core.preprocess import Canvas
from edgedx.core.progress import progress
from edgedx.core.settings.columns import gather
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import read_table
from edgedx.device.clinic.answers_export import AnswersExport, ExportedAnswer, read_answers
from edgedx.lab.data.given_images import IMAGE, ReadImage, list_images, read_batches
from edgedx.lab.data.reading.rows import path_problem

SUFFIX = ".answers"
_BATCH = 64
Label = tuple[float, ...]


@dataclass(frozen=True)
class Told:
    """One image, and what people said of it.

    Attributes
    ----------
    name : str
        For tables and messages: site and hash, or site and the name in a plain table.
    sha256 : str
        Of the image file at the clinic.
    site : str
    labels : tuple of Label
        One of each person who gave one; see `given_images.ListedImage.label`.
    canvas : ndarray, optional
        What a model sees; None where the picture did not come along.
    shape : (int, int)
        Height and width of the image before it became a canvas, as far as known.
    blind, agreed : bool
        Whether somebody answered before seeing the model's answer; whether all followed it after having seen it.
    patient : str
        Empty where it is not known.
    key : str
        Of the result at the clinic, where its page has the image; empty for a plain table.
    problem : str
        Why it cannot be used; empty where it can.
    """

    name: str
    sha256: str
    site: str
    labels: tuple[Label, ...]
    canvas: Canvas | None = None
    shape: tuple[int, int] = (0, 0)
    blind: bool = False
    agreed: bool = False
    patient: str = ""
    key: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class FeedbackFile:
    """One file of answers.

    Attributes
    ----------
    facts : dict
        For records: name, digest, site, who signed it.
    created : str
        Day of an export; of two exports of one clinic the later counts.
    """

    path: Path
    facts: dict[str, Any]
    images: list[Told]
    created: str = ""


def feedback_digest(path: Path) -> str:
    """What names a file of answers; of labelled images also sizes and times of the files that are listed."""
    if not path.is_file():
        return _facts(path, sorted(one for one in path.rglob("*") if one.is_file()))
    if path.suffix == SUFFIX:
        return sha256_file(path)
    entries, _ = read_table(path)
    listed = sorted({(entry.get(IMAGE) or "").strip() for entry in entries} - {""})
    files = [path.parent / name for name in listed if not path_problem(name)]
    return sha256_bytes(canonical_json([sha256_file(path), _facts(path.parent, files)]))


def _facts(folder: Path, files: Sequence[Path]) -> str:
    there = [one for one in files if one.is_file()]
    facts = [(one.relative_to(folder).as_posix(), one.stat().st_size, one.stat().st_mtime_ns) for one in there]
    return sha256_bytes(canonical_json(facts))


def read_feedback(path: Path, recipe: Recipe, known: Sequence[str], trusted: Sequence[PublicKey]) -> FeedbackFile:
    """Read one file.

    Parameters
    ----------
    known : sequence of str
        Digests of the bundles whose answers count: the run's, and those of the versions before.
    trusted : sequence of PublicKey
        Keys of the clinics; one must have signed an export.

    Raises
    ------
    GateRefused
        Not signed by a trusted key, or answers to another model.
    DataError
        Damaged, or it lists nothing.
    """
    if path.suffix == SUFFIX:
        return _of_export(path, recipe, known, trusted)
    return _of_table(path, recipe)


def _of_export(path: Path, recipe: Recipe, known: Sequence[str], trusted: Sequence[PublicKey]) -> FeedbackFile:
    export = read_answers(path, trusted)
    manifest = export.manifest
    if manifest.bundle not in known:
        raise GateRefused(
            f"{path} holds answers to {manifest.name} {manifest.version}, bundle {manifest.bundle[:12]}; this run made "
            f"{', '.join(one[:12] for one in known) or 'no bundle yet'}",
            next_step="name the run that made that bundle, or leave the file out",
        )
    same = (recipe.preprocess, recipe.task.classes, recipe.task.kind)
    if (manifest.preprocess, manifest.classes, manifest.task) != same:
        raise GateRefused(
            f"{path}: its images were made ready for other classes or another size than this run's recipe has",
            next_step="name the run that made that bundle, or leave the file out",
        )
    by_image: dict[str, list[ExportedAnswer]] = defaultdict(list)
    for answer in export.answers:
        by_image[answer.image].append(answer)
    there = set(export.images())
    images = [_told(export, recipe, image, answers, image in there) for image, answers in sorted(by_image.items())]
    facts = {
        "file": path.name,
        "digest": export.digest,
        "site": manifest.site,
        "signed_by": None if export.signed_by is None else str(export.signed_by),
        "bundle": manifest.bundle,
        "answers": len(export.answers),
        "images": len(images),
    }
    return FeedbackFile(path, facts, images, manifest.created)


def _told(export: AnswersExport, recipe: Recipe, image: str, answers: Sequence[ExportedAnswer], there: bool) -> Told:
    site = export.manifest.site
    labelled = [one for one in answers if one.verdict != "cannot_tell"]
    canvas = export.canvas(image) if there and labelled else None
    problem = "" if labelled else "no label: nobody could tell"
    patient = next((one.patient for one in answers if one.patient), "")
    return Told(
        name=f"{site}/{image[:16]}",
        sha256=image,
        site=site,
        labels=tuple(_label(recipe, one.label) for one in labelled),
        canvas=canvas,
        shape=recipe.preprocess.size,
        blind=any(one.blind for one in labelled),
        agreed=bool(labelled) and all(one.verdict == "agree" and not one.blind for one in labelled),
        patient=f"{site}:{patient}" if patient else "",
        key=answers[-1].key,
        columns={column.name: "" for column in recipe.columns.use},
        problem=problem or ("" if there else "the picture is not in the export (--images)"),
    )


def _label(recipe: Recipe, text: str) -> Label:
    classes = recipe.task.classes
    if recipe.task.kind == "multilabel":
        present = set(text.split("|"))
        return tuple(float(name in present) for name in classes)
    return (float(classes.index(text)),)


def _of_table(path: Path, recipe: Recipe) -> FeedbackFile:
    """A folder for each class, or a table (see `given_images.list_images`); a column ``site`` counts."""
    listed = list_images(path, recipe.task.kind, recipe.task.classes)
    images = []
    with progress(f"reading {path.name}", len(listed)) as bar:
        for part in read_batches(listed, recipe.preprocess, recipe.accept, _BATCH):
            for given, read in part:
                site = given.groups.get("site") or path.stem
                good = isinstance(read, ReadImage)
                images.append(
                    Told(
                        name=f"{site}/{given.name}",
                        sha256=read.sha256 if isinstance(read, ReadImage) else "",
                        site=site,
                        labels=(given.label,) if given.label else (),
                        canvas=read.canvas if isinstance(read, ReadImage) else None,
                        shape=read.shape if isinstance(read, ReadImage) else (0, 0),
                        patient=given.patient,
                        groups={key: value for key, value in given.groups.items() if key != "site"},
                        columns=gather(recipe.columns.use, given.groups, read.meta)
                        if isinstance(read, ReadImage)
                        else {},
                        problem="" if good else _plain(str(read)),
                    )
                )
            bar.advance(len(part))
    sites = sorted({one.site for one in images})
    facts = {
        "file": path.name,
        "digest": feedback_digest(path),
        "site": ", ".join(sites),
        "signed_by": None,
        "bundle": None,
        "answers": len(images),
        "images": len(images),
    }
    return FeedbackFile(path, facts, images)


def _plain(problem: str) -> str:
    return "no label" if problem == "missing label" else problem
