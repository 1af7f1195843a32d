"""One file of a clinic's answers, signed: what people said of images that a model had read (docs/answers.md).

The layout is a bundle's (`core.bundle.container`): a manifest, and parts that it names by hash. The signature is over
the manifest under a prefix of its own, so that it can never be taken for one over a bundle.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field, ValidationError

from edgedx.core.bundle.container import MANIFEST, pack, read_envelope, unpack
from edgedx.core.bundle.manifest import BundlePart, Manifest
from edgedx.core.bundle.signing import PublicKey, SigningKey, signer_of
from edgedx.core.errors import BundleError, DataError, GateRefused
from edgedx.core.files import canonical_json, sha256_bytes, write_bytes
from edgedx.core.preprocess import Canvas, PreprocessSpec
from edgedx.core.strict import Strict
from edgedx.core.table import csv_text

PREFIX = b"edgedx answers manifest 1\n"
"""Before the manifest in what is signed."""
TABLE = "answers.csv"
MAX_IMAGES = 15_000
"""More do not fit the manifest, which names each."""
MAX_IMAGE_BYTES = 512 << 20
"""Of all images together: an export is made in memory."""
_HEX = "0123456789abcdef"
_VERDICTS = ("agree", "disagree", "cannot_tell")


@dataclass(frozen=True)
class ExportedAnswer:
    """One person's answer to one image; a row of ``answers.csv``, whose columns are these fields.

    Attributes
    ----------
    image : str
        SHA-256 of the image file's content at the clinic; its canvas, where there is one, is ``images/IMAGE.png``.
    key : str
        Of the result that was answered.
    bundle : str
        Digest of the bundle that had read it: the one of the manifest.
    time : str
        The day, ``2026-11-27``.
    verdict : str
        agree, disagree or cannot_tell.
    label : str
        What the person says: a class; for several findings those joined by ``|``, empty for none of them. Empty for
        cannot_tell.
    shown : str
        The model's label that was in force.
    blind : bool
        This person has answered before the model's answer was shown.
    reason : str
        A code of the page's list, or empty.
    person : str
        p1, p2 ... : the same person within this file, another one in the next.
    patient : str
        A pseudonym, the same in every export of this clinic; empty where the header names none.
    blind_label : str
        What the person said blind; another than `label` where they changed it after a look. Figures of the model are
        computed from this one. Empty where `blind` is false, or they could not tell.
    """

    image: str
    key: str
    bundle: str
    time: str
    verdict: str
    label: str
    shown: str
    blind: bool
    reason: str
    person: str
    patient: str = ""
    blind_label: str = ""


class AnswersManifest(Strict):
    """manifest.json of an export."""

    schema_version: Literal[1] = 1
    kind: Literal["answers"] = "answers"
    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="The clinic, as it calls itself.")
    bundle: str = Field(pattern=r"^[0-9a-f]{64}$", description="Digest of the bundle that was answered.")
    name: str = Field(description="Of the bundle's model.")
    version: str = Field(description="Of the bundle's model.")
    task: Literal["binary", "multiclass", "multilabel"]
    classes: list[str] = Field(min_length=1)
    positive: str | None = None
    preprocess: PreprocessSpec = Field(description="How the images in it were made ready: they are the model's canvas.")
    counts: dict[str, int] = Field(description="answers, images, blind, agree, disagree, cannot_tell; and of images "
                                   "left out, left_out_CODE.")  # fmt: skip
    edgedx: str = Field(description="Version that wrote it.")
    created: str = Field(description="Day, by the wall clock of the device.")
    parts: dict[str, BundlePart]


class AnswersExport:
    """An export that was read and verified. Use `read_answers`.

    Attributes
    ----------
    digest : str
        SHA-256 of the canonical manifest: the identity of the export.
    signed_by : PublicKey or None
        None where it was read unsigned, on the caller's word.
    answers : tuple of ExportedAnswer
    """

    def __init__(
        self,
        path: Path,
        raw: bytes,
        manifest: AnswersManifest,
        parts: Mapping[str, bytes],
        signed_by: PublicKey | None,
    ) -> None:
        self.path, self.manifest, self.signed_by = path, manifest, signed_by
        self.digest = sha256_bytes(raw)
        self._parts = parts
        self.answers = tuple(_read_rows(parts[TABLE], manifest, path))

    def images(self) -> list[str]:
        """SHA-256 of the originals whose canvases are in it, sorted."""
        return sorted(name[len("images/") : -len(".png")] for name in self._parts if name != TABLE)

    def canvas(self, image: str) -> Canvas:
        """What the model saw: (H, W) or (H, W, 3) in RGB, uint8 or uint16, as `core.preprocess.canvas` makes it.

        Raises
        ------
        DataError
            It is no such image.
        KeyError
            There is none.
        """
        return _decoded(self._parts[_part(image)], self.manifest.preprocess, f"{self.path}: {_part(image)}")


def write_answers(
    path: Path,
    bundle: tuple[str, Manifest],
    answers: Sequence[ExportedAnswer],
    canvases: Mapping[str, bytes],
    *,
    site: str,
    created: str,
    edgedx: str,
    left_out: Mapping[str, int] | None = None,
    keys: Sequence[SigningKey] = (),
) -> AnswersManifest:
    """Write an export durably.

    Parameters
    ----------
    bundle : (str, Manifest)
        Digest and manifest of what was answered.
    canvases : mapping of str to bytes
        By SHA-256 of the original: a PNG, see `png_of`.
    created : str
        The day.
    left_out : mapping of str to int
        Images that were answered and are not in it, by code.
    keys : sequence of SigningKey
        Each signs.

    Raises
    ------
    DataError
        Too many or too large images, or a site, answer or image that no reader would take.
    """
    digest, model = bundle
    size = sum(map(len, canvases.values()))
    if len(canvases) > MAX_IMAGES or size > MAX_IMAGE_BYTES:
        raise DataError(
            f"{len(canvases)} images of {size >> 20} MiB are more than one export takes ({MAX_IMAGES}, "
            f"{MAX_IMAGE_BYTES >> 20} MiB)",
            next_step="export in parts: --since DAY, --until DAY",
        )
    parts = {TABLE: _table(answers), **{_part(image): data for image, data in canvases.items()}}
    counts = {
        "answers": len(answers),
        "images": len(canvases),
        "blind": sum(one.blind for one in answers),
        **{verdict: sum(one.verdict == verdict for one in answers) for verdict in _VERDICTS},
        **{f"left_out_{code}": count for code, count in sorted((left_out or {}).items())},
    }
    try:
        manifest = AnswersManifest(
            site=site,
            bundle=digest,
            name=model.name,
            version=model.version,
            task=model.task,
            classes=model.classes,
            positive=model.positive,
            preprocess=model.preprocess,
            counts=counts,
            edgedx=edgedx,
            created=created,
            parts={name: BundlePart(sha256=sha256_bytes(data), bytes=len(data)) for name, data in parts.items()},
        )
    except ValidationError as error:
        raise DataError(
            f"the site is called {site!r}, which no file name can hold", next_step="letters, digits, '.', '_' and '-'"
        ) from error
    raw = canonical_json(manifest.model_dump(mode="json"))
    AnswersExport(path, raw, manifest, parts, None)  # what would be refused is not written
    write_bytes(path, pack(raw, parts, [key.sign(raw, PREFIX) for key in keys]))
    return manifest


def read_answers(path: Path, trusted: Sequence[PublicKey], *, unsigned: bool = False) -> AnswersExport:
    """Read and verify an export; nothing is unpacked to disk.

    Parameters
    ----------
    trusted : sequence of PublicKey
        One of them must have signed; that is checked before anything is parsed.
    unsigned : bool
        Take it without a trusted key, on the caller's word.

    Raises
    ------
    GateRefused
        Not signed by a trusted key.
    DataError
        Damaged, malformed, no export of answers, or an answer in it that its own model cannot have got.
    StorageError, InputOutputError
        Missing or not readable.
    """
    try:
        envelope = read_envelope(path)
        signer, spoiled = signer_of(envelope.manifest, envelope.signatures, trusted, PREFIX)
        if signer is None and not unsigned:
            raise _refused(path, [one.key_id for one in envelope.signatures], trusted, spoiled)
        files = unpack(envelope, path, MAX_IMAGES + 2)
        if files.pop(MANIFEST) != envelope.manifest:
            raise BundleError(f"{path}: {MANIFEST} is not the one that the checksum and signature are of")
    except BundleError as error:
        raise DataError(
            f"{path} is damaged, or is no export of answers: {error.message}",
            next_step="copy it again from the device, where `edgedx answers export` wrote it",
        ) from error
    manifest = _parse(envelope.manifest, path)
    if set(files) != set(manifest.parts) or TABLE not in files:
        raise DataError(f"{path}: its parts are not those that its manifest names", next_step="export it again")
    for name, part in manifest.parts.items():
        if len(files[name]) != part.bytes or sha256_bytes(files[name]) != part.sha256:
            raise DataError(f"{path}: {name} does not match its hash: it was changed", next_step="export it again")
    return AnswersExport(path, envelope.manifest, manifest, files, signer)


def png_of(canvas: Canvas) -> bytes:
    """A canvas as the PNG that an export holds: nothing is lost, and it has no header."""
    done, data = cv2.imencode(".png", canvas[..., ::-1] if canvas.ndim == 3 else canvas)
    if not done:
        raise DataError("an image cannot be written as PNG")
    return bytes(data.tobytes())


def _refused(path: Path, signers: Sequence[str], keys: Sequence[PublicKey], spoiled: PublicKey | None) -> GateRefused:
    if spoiled is not None:
        return GateRefused(
            f"{path}: the signature by {spoiled} does not fit: it was changed after it was signed, or is forged",
            next_step="do not use it; ask the clinic for a new export",
        )
    known = ", ".join(map(str, keys)) or "no key"
    said = f"is signed by {', '.join(signers)}" if signers else "is not signed"
    return GateRefused(
        f"{path} {said}, and trusted here is {known}",
        next_step="give the clinic's public key, which it told you by another way: --trust CLINIC.pub",
    )


def _parse(raw: bytes, path: Path) -> AnswersManifest:
    try:
        manifest = AnswersManifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path}: {MANIFEST}, field {where}: {first['msg']}", next_step="was it written by a newer edgedx?"
        ) from error
    if canonical_json(json.loads(raw)) != raw:
        raise DataError(f"{path}: {MANIFEST} is not canonical JSON")
    return manifest


def _part(image: str) -> str:
    return f"images/{image}.png"


def _table(answers: Sequence[ExportedAnswer]) -> bytes:
    names = [one.name for one in fields(ExportedAnswer)]
    rows = [[int(cell) if isinstance(cell, bool) else cell for cell in astuple(one)] for one in answers]
    return csv_text(names, rows).encode()


def _read_rows(data: bytes, manifest: AnswersManifest, path: Path) -> Iterator[ExportedAnswer]:
    names = [one.name for one in fields(ExportedAnswer)]
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {TABLE} is no table: {error}", next_step="export it again") from error
    if not rows or rows[0] != names:
        raise DataError(f"{path}: {TABLE} has not the columns {', '.join(names)}", next_step="export it again")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise DataError(f"{path}: {TABLE}, line {line} has {len(row)} cells, not {len(names)}")
        cells = dict(zip(names, row, strict=True))
        if wrong := _wrong(cells, manifest):
            raise DataError(f"{path}: {TABLE}, line {line}, {wrong}: no such value", next_step="export it again")
        yield ExportedAnswer(**{**cells, "blind": cells["blind"] == "1"})  # type: ignore[arg-type]
    for name in manifest.parts:
        image = name.removeprefix("images/").removesuffix(".png")
        if name != TABLE and not (_part(image) == name and _is_hex(image)):
            raise DataError(f"{path}: part {name!r} is neither the table nor an image", next_step="export it again")


def _wrong(cells: Mapping[str, str], manifest: AnswersManifest) -> str:
    """The first column whose value cannot be; empty where all can."""
    if cells["verdict"] not in _VERDICTS:
        return "verdict"
    known = set(manifest.classes)
    for column in ("label", "shown", "blind_label"):
        told = [part for part in cells[column].split("|") if part]
        least = int(manifest.task != "multilabel" and column == "label" and cells["verdict"] != "cannot_tell")
        most = len(known) if manifest.task == "multilabel" else 1
        if not set(told) <= known or not least <= len(told) <= most:
            return column
    if cells["verdict"] == "cannot_tell" and cells["label"]:
        return "label"
    if cells["blind"] not in ("0", "1"):
        return "blind"
    if cells["blind"] == "0" and cells["blind_label"]:
        return "blind_label"
    if cells["bundle"] != manifest.bundle:
        return "bundle"
    return next((column for column in ("image", "key") if not _is_hex(cells[column])), "")


def _is_hex(text: str) -> bool:
    return len(text) == 64 and set(text) <= set(_HEX)


def _decoded(data: bytes, spec: PreprocessSpec, where: str) -> Canvas:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    shape = tuple(spec.size) if spec.channels == 1 else (*spec.size, 3)
    if found is None or found.shape != shape or found.dtype != (np.uint8 if spec.bits == 8 else np.uint16):
        raise DataError(f"{where} is no image of the size and depth that the manifest names")
    return np.ascontiguousarray(found[..., ::-1] if found.ndim == 3 else found)
