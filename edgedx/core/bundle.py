"""The bundle (`.edgedx`): one file with all a device needs, read by our own strict reader.

It is a zip of stored (uncompressed) regular files with fixed dates, whose archive comment is the SHA-256 of
every byte before it. The reader checks that digest before it parses anything, so one flipped byte anywhere
is found; then it accepts only what our writer would have written.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import BundleError
from .files import canonical_json, read_json, sha256_bytes, storage_error, write_bytes
from .preprocess import PreprocessSpec

MANIFEST = "manifest.json"
MAX_BUNDLE_BYTES = 2 << 30
MAX_PARTS = 64
_NAME_CHARS = set("abcdefghijklmnopqrstuvwxyz0123456789.-_/")
_COMMENT_BYTES = 64  # hex SHA-256


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """One file of the bundle."""

    sha256: str
    bytes: int = Field(ge=0, description="Size.")


class Variant(_Strict):
    """One ONNX model of the bundle."""

    file: str = Field(description="Name of the part.")
    precision: Literal["fp32", "fp16", "int8"]
    scheme: Literal["float", "u8s8", "s8s8", "trt"] = Field(
        description="Quantization scheme; float when there is none."
    )
    purpose: Literal["cpu", "tensorrt"] = Field(description="Which runtime it was made for.")


class Engine(_Strict):
    """A compiled form of a variant. It is a cache, never the truth: a device may drop it and build its own."""

    file: str = Field(description="Name of the part.")
    variant: str = Field(description="The variant that it was built from.")
    runtime: Literal["tensorrt_rtx"] = Field(description="Runtime that loads it; only ahead-of-time engines ship.")
    runtime_version: str = Field(description="Version of the runtime that built it; another one builds its own.")
    model_sha256: str = Field(description="Of the ONNX file that it was built from.")


class OperatingPoint(_Strict):
    """Decision thresholds chosen on the validation split, on calibrated probabilities."""

    name: str = Field(description="youden, sensitivity-0.95 ...")
    threshold: dict[str, float] = Field(
        description="By class: positive when the probability reaches it; empty for argmax."
    )
    sensitivity: float | None = Field(None, description="On the validation split, where the point is of one class.")
    specificity: float | None = Field(None, description="On the validation split, where the point is of one class.")


class Golden(_Strict):
    """Samples that prove preprocessing and inference on the device that will serve."""

    file: str = Field(description="npz: image_0 ... image_n (uint8 or uint16 pixels) and logits_<variant>.")
    count: int = Field(ge=1)
    tolerance: dict[str, float] = Field(description="Greatest absolute difference of logits allowed, by variant.")


class Accept(_Strict):
    """What the model was made for; anything else is refused with a reason code. Empty lists accept all."""

    modality: list[str] = Field([], description="(0008,0060) values accepted, e.g. CR, DX.")
    body_part: list[str] = Field([], description="(0018,0015) values accepted; absent values pass.")
    min_side: int = Field(16, description="Least height and width of the source, pixels.")


class Manifest(_Strict):
    """manifest.json: everything but the weights."""

    schema_version: Literal[1] = 1
    name: str
    version: str = Field(description="Version of the model, chosen by who made the bundle.")
    created: str = Field(description="Wall clock of the workstation, ISO 8601 UTC.")
    edgedx: str = Field(description="Version of edgedx that wrote it.")
    profile: str = Field(description="Device profile the bundle was made for.")
    target: Literal["cpu", "jetson", "rtx"]
    task: Literal["binary", "multiclass", "multilabel"]
    classes: list[str] = Field(min_length=1)
    positive: str | None = Field(None, description="The class whose sensitivity is meant; binary tasks.")
    backbone: str
    preprocess: PreprocessSpec
    accept: Accept = Accept()
    temperature: float = Field(
        gt=0, description="Logits are divided by it; fitted on val logits of the default variant."
    )
    operating_points: list[OperatingPoint] = Field(
        min_length=1, description="The first is used unless another is named."
    )
    variants: dict[str, Variant] = Field(min_length=1)
    default_variant: str = Field(description="The variant that was judged and will serve on the profile's runtime.")
    engines: list[Engine] = Field([], description="Compiled forms of variants, for runtimes without a compiler.")
    features: int | None = Field(None, description="Length of the second output, the pooled feature vector.")
    baseline: dict[str, list[float]] = Field({}, description="Input and score statistics of the val split, for drift.")
    golden: Golden
    metrics: dict[str, float] = Field({}, description="Of the default variant on the test split.")
    gate: dict[str, float | bool | str] = Field({}, description="What the gate decided and on which figures.")
    licences: dict[str, str] = Field({}, description="Data and weights to SPDX licence or a sentence.")
    synthetic: bool = Field(False, description="Trained on generated images; worth nothing in a clinic.")
    parts: dict[str, Part] = Field(description="Every other file of the bundle.")

    def digest(self) -> str:
        """SHA-256 of the canonical manifest: the identity of the bundle (parts are inside by hash)."""
        return sha256_bytes(canonical_json(self.model_dump(mode="json")))


class Bundle:
    """An opened, verified bundle. Use `open_bundle`, or `open_folder` for an installed one."""

    def __init__(self, manifest: Manifest, parts: Mapping[str, bytes], path: Path) -> None:
        self.manifest = manifest
        self.path = path
        self.digest = manifest.digest()
        self._parts = parts

    def read(self, name: str) -> bytes:
        """Content of part `name`, verified against the manifest when the bundle was opened."""
        return self._parts[name]

    def model(self, variant: str | None = None) -> bytes:
        """ONNX bytes of a variant, the default one unless named."""
        name = variant or self.manifest.default_variant
        if name not in self.manifest.variants:
            raise BundleError(
                f"{self.path}: no variant {name!r}",
                next_step=f"choose one of {', '.join(sorted(self.manifest.variants))}",
            )
        return self.read(self.manifest.variants[name].file)

    def names(self) -> Iterator[str]:
        """Names of all parts."""
        return iter(self._parts)


def write_bundle(path: Path | str, manifest: Manifest, parts: Mapping[str, bytes]) -> str:
    """Write a bundle durably and return its digest.

    Parameters
    ----------
    manifest : Manifest
        Its ``parts`` are filled in here, from `parts`.
    parts : mapping of name to bytes
    """
    manifest = manifest.model_copy(
        update={"parts": {k: Part(sha256=sha256_bytes(v), bytes=len(v)) for k, v in sorted(parts.items())}}
    )
    _check_manifest(manifest, Path(path))
    write_bytes(path, _pack({MANIFEST: canonical_json(manifest.model_dump(mode="json")), **parts}))
    return manifest.digest()


def _pack(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items(), key=lambda item: (item[0] != MANIFEST, item[0])):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
        archive.comment = b"0" * _COMMENT_BYTES
    body = buffer.getvalue()[:-_COMMENT_BYTES]
    return body + hashlib.sha256(body).hexdigest().encode()


def open_bundle(path: Path | str) -> Bundle:
    """Read and verify a bundle file; nothing is unpacked to disk.

    Raises
    ------
    BundleError
        Damaged (digest), malformed, over the size limit, or of another schema.
    StorageError, InputOutputError
        Missing or not readable.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise BundleError(f"{path} is larger than {MAX_BUNDLE_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise storage_error(path, error) from error
    body, comment = data[:-_COMMENT_BYTES], data[-_COMMENT_BYTES:]
    if hashlib.sha256(body).hexdigest().encode() != comment:
        raise BundleError(
            f"{path} is damaged or is not a bundle: its content does not match its checksum",
            next_step="copy it again from where it was made, then compare `sha256sum` on both sides",
        )
    files = _unpack(path, data)
    manifest = _parse_manifest(files.pop(MANIFEST, None), path)
    if set(files) != set(manifest.parts):
        raise BundleError(f"{path}: parts and manifest differ: {sorted(set(files) ^ set(manifest.parts))}")
    for name, part in manifest.parts.items():
        if len(files[name]) != part.bytes or sha256_bytes(files[name]) != part.sha256:
            raise BundleError(f"{path}: part {name} does not match its hash in the manifest")
    return Bundle(manifest, files, path)


def _unpack(path: Path, data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_PARTS:
                raise BundleError(f"{path}: more than {MAX_PARTS} parts")
            for entry in entries:
                regular = entry.external_attr >> 16 in (0, 0o100644)
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or not regular:
                    raise BundleError(f"{path}: part {entry.filename!r} is not a plain stored file")
                if not _plain_name(entry.filename) or entry.filename in files:
                    raise BundleError(f"{path}: part name {entry.filename!r} is not allowed or stands twice")
                files[entry.filename] = archive.read(entry)
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError) as error:
        raise BundleError(f"{path} is malformed: {error}") from error
    return files


def _plain_name(name: str) -> bool:
    return (
        0 < len(name) <= 120
        and set(name) <= _NAME_CHARS
        and all(piece and not piece.startswith(".") for piece in name.split("/"))
    )


def _parse_manifest(raw: bytes | None, path: Path) -> Manifest:
    if raw is None:
        raise BundleError(f"{path}: no {MANIFEST}")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{path}: {MANIFEST}, field {where}: {first['msg']}", next_step="was it made by a newer edgedx?"
        ) from error
    _check_manifest(manifest, path)
    return manifest


def _check_manifest(manifest: Manifest, path: Path) -> None:
    named = {variant.file for variant in manifest.variants.values()} | {manifest.golden.file}
    named |= {engine.file for engine in manifest.engines}
    if missing := named - set(manifest.parts):
        raise BundleError(f"{path}: manifest names parts that are not there: {sorted(missing)}")
    if manifest.default_variant not in manifest.variants:
        raise BundleError(f"{path}: default_variant {manifest.default_variant!r} is no variant")
    if manifest.positive is not None and manifest.positive not in manifest.classes:
        raise BundleError(f"{path}: positive class {manifest.positive!r} is not among the classes")


def unpack_to(bundle: Bundle, folder: Path) -> None:
    """Write an opened bundle's parts and manifest into `folder`, each durably (see `device.install`)."""
    for name in bundle.names():
        write_bytes(folder / name, bundle.read(name))
    write_bytes(folder / MANIFEST, canonical_json(bundle.manifest.model_dump(mode="json")))


def open_folder(folder: Path | str) -> Bundle:
    """Open an installed bundle, verifying every part's hash on disk.

    Raises
    ------
    BundleError
        A part is missing or differs from the manifest.
    """
    folder = Path(folder)
    read_json(folder / MANIFEST)  # for its error: missing, or not JSON
    manifest = _parse_manifest((folder / MANIFEST).read_bytes(), folder)
    files: dict[str, bytes] = {}
    for name, part in manifest.parts.items():
        if not _plain_name(name):
            raise BundleError(f"{folder}: part name {name!r} is not allowed")
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{folder}: part {name} is missing: {error.strerror}") from error
        if sha256_bytes(data) != part.sha256:
            raise BundleError(f"{folder}: part {name} was changed on disk", next_step="install the bundle again")
        files[name] = data
    return Bundle(manifest, files, folder)
