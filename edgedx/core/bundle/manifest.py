"""The bundle (`.edgedx`): one file with all a device needs, read by our own strict reader.

Checksum and signature are checked on raw bytes before the manifest is parsed (`bundle_file`); every part is in the
manifest by hash, so that a signature over the manifest covers all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgedx.core.errors import BundleError, InputOutputError
from edgedx.core.files import canonical_json, read_regular, sha256_bytes, write_bytes, write_text
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.accept import Accept
from edgedx.core.settings.columns import FittedColumn
from edgedx.core.stats.points import LOCAL, OperatingPoint
from edgedx.core.strict import Strict
from edgedx.core.version import VERSION_PATTERN

from .container import (
    MANIFEST,
    MAX_BUNDLE_BYTES,
    MAX_MANIFEST_BYTES,
    RESERVED,
    SIGNATURES,
    pack,
    parse_signatures,
    plain_name,
    read_envelope,
    resign,
    signature_lines,
    unpack,
)
from .doubt import Doubt
from .onnx_walk import check_onnx
from .signing import PublicKey, Signature, SigningKey, require_signature

_AGAIN = "install the bundle again, or `edgedx rollback`"


class BundlePart(Strict):
    """One file of the bundle."""

    sha256: str
    bytes: int = Field(ge=0, description="Size.")


class Variant(Strict):
    """One ONNX model of the bundle."""

    file: str = Field(description="Name of the part.")
    precision: Literal["fp32", "fp16", "int8"]
    scheme: Literal["float", "u8s8", "s8s8", "trt"] = Field(
        description="Quantization scheme; float when there is none."
    )
    purpose: Literal["cpu", "tensorrt"] = Field(description="Which runtime it was made for.")


class Engine(Strict):
    """A compiled form of a variant. It is a cache, never the truth: a device may drop it and build its own."""

    file: str = Field(description="Name of the part.")
    variant: str = Field(description="The variant that it was built from.")
    runtime: Literal["tensorrt_rtx"] = Field(description="Runtime that loads it; only ahead-of-time engines ship.")
    runtime_version: str = Field(description="Version of the runtime that built it; another one builds its own.")
    model_sha256: str = Field(description="Of the ONNX file that it was built from.")
    sm: list[str] = Field(min_length=1, description="Compute capabilities that it runs on, major.minor.")
    bytes: int = Field(gt=0, description="Size of the engine, which the part holds compressed (xz).")
    sha256: str = Field(description="Of the engine, uncompressed.")


class Golden(Strict):
    """Samples that prove preprocessing and inference on the device that will serve."""

    file: str = Field(
        description="npz: image_0 ... image_n (uint8 or uint16 pixels), logits_<variant>, and columns (n, T), made up, "
        "where the models take them."
    )
    count: int = Field(ge=1)
    tolerance: dict[str, float] = Field(description="Greatest absolute difference of logits allowed, by variant.")


class Manifest(Strict):
    """manifest.json: everything but the weights."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$", description="Of the model; versions are compared by name.")
    version: str = Field(pattern=VERSION_PATTERN, description="Of the model: dotted numbers; a device takes no older.")
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
    columns: list[FittedColumn] = Field([], description="What the models are told beside the image, and how encoded.")
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
    doubt: Doubt = Doubt()
    reference: dict[str, str] = Field(
        {}, description="By variant: the part with what its images and answers were like."
    )
    baseline: dict[str, list[float]] = Field({}, description="Of bundles from before `reference`; nothing reads it.")
    golden: Golden
    metrics: dict[str, float] = Field({}, description="Of the default variant on the test split.")
    gate: dict[str, float | bool | str] = Field({}, description="What the gate decided and on which figures.")
    licences: dict[str, str] = Field({}, description="Data and weights to SPDX licence or a sentence.")
    synthetic: bool = Field(False, description="Trained on generated images; worth nothing in a clinic.")
    parts: dict[str, BundlePart] = Field(description="Every other file of the bundle.")


class Bundle:
    """An opened, verified bundle. Use `open_bundle`, or `open_folder` for an installed one.

    Attributes
    ----------
    digest : str
        SHA-256 of the canonical manifest: the identity of the bundle, as parts are inside by hash.
    signatures : tuple of Signature
        As they came; verified only where keys were given to verify them with.
    signed_by : PublicKey or None
        The trusted key that has signed, where keys were given.
    root : Path or None
        Of the device that it is installed on, where a site's own operating point may be (`local_point`).
    """

    root: Path | None = None

    def __init__(
        self,
        manifest: bytes,
        parts: Mapping[str, bytes],
        path: Path,
        signatures: Sequence[Signature] = (),
        signed_by: PublicKey | None = None,
    ) -> None:
        self.manifest = _parse_manifest(manifest, path)
        self.raw_manifest = manifest
        self.path = path
        self.digest = sha256_bytes(manifest)
        self.signatures = tuple(signatures)
        self.signed_by = signed_by
        self._parts = parts
        _check_parts(self.manifest, parts, path)

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


def write_bundle(
    path: Path | str, manifest: Manifest, parts: Mapping[str, bytes], keys: Sequence[SigningKey] = ()
) -> str:
    """Write a bundle durably and return its digest.

    Parameters
    ----------
    manifest : Manifest
        Its ``parts`` are filled in here, from `parts`.
    parts : mapping of name to bytes
    keys : sequence of SigningKey
        Each signs.
    """
    manifest = manifest.model_copy(
        update={"parts": {k: BundlePart(sha256=sha256_bytes(v), bytes=len(v)) for k, v in sorted(parts.items())}}
    )
    raw = canonical_json(manifest.model_dump(mode="json"))
    Bundle(raw, parts, Path(path))  # what would be refused is not written
    write_bytes(path, pack(raw, parts, [key.sign(raw) for key in keys]))
    return sha256_bytes(raw)


def sign_bundle(path: Path | str, keys: Sequence[SigningKey]) -> tuple[Signature, ...]:
    """Add signatures to a bundle file, in place; those of other keys stay. Returns all that it has then."""
    path = Path(path)
    envelope = read_envelope(path)
    Bundle(envelope.manifest, _parts(unpack(envelope, path)), path)  # nobody should sign what no device takes
    signatures = {signature.key_id: signature for signature in envelope.signatures}
    signatures |= {key.public.id: key.sign(envelope.manifest) for key in keys}
    ordered = tuple(signatures[key_id] for key_id in sorted(signatures))
    write_bytes(path, resign(envelope, ordered))
    return ordered


def open_bundle(path: Path | str, *, trusted: Sequence[PublicKey] = ()) -> Bundle:
    """Read and verify a bundle file; nothing is unpacked to disk.

    Parameters
    ----------
    trusted : sequence of PublicKey
        Where there are any, one of them must have signed; that is checked before anything is parsed.

    Raises
    ------
    GateRefused
        Not signed by a trusted key.
    BundleError
        Damaged (digest), malformed, over the size limit, or of another schema.
    StorageError, InputOutputError
        Missing or not readable.
    """
    path = Path(path)
    envelope = read_envelope(path)
    signer = require_signature(envelope.manifest, envelope.signatures, trusted, path) if trusted else None
    files = unpack(envelope, path)
    if files.get(MANIFEST) != envelope.manifest:
        raise BundleError(f"{path}: {MANIFEST} is not the one that the checksum and signature are of")
    return Bundle(envelope.manifest, _parts(files), path, envelope.signatures, signer)


def _parts(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name != MANIFEST}


def check_models(bundle: Bundle) -> None:
    """Refuse a bundle whose models need anything outside themselves (see `onnx_walk.check_onnx`)."""
    for name, variant in bundle.manifest.variants.items():
        check_onnx(bundle.read(variant.file), f"{bundle.path}: model {name}")


def _parse_manifest(raw: bytes, path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{path}: {MANIFEST}, field {where}: {first['msg']}", next_step="was it made by a newer edgedx?"
        ) from error
    # What a reader of another kind would understand by a key that stands twice is nobody's guess.
    if canonical_json(json.loads(raw)) != raw:
        raise BundleError(f"{path}: {MANIFEST} is not canonical JSON")
    _check_manifest(manifest, path)
    return manifest


def _check_manifest(manifest: Manifest, path: Path) -> None:
    named = {variant.file for variant in manifest.variants.values()} | {manifest.golden.file}
    named |= {engine.file for engine in manifest.engines}
    named |= {limits.file for limits in manifest.doubt.ood.values() if limits.file is not None}
    named |= set(manifest.reference.values())
    if missing := named - set(manifest.parts):
        raise BundleError(f"{path}: manifest names parts that are not there: {sorted(missing)}")
    if manifest.default_variant not in manifest.variants:
        raise BundleError(f"{path}: default_variant {manifest.default_variant!r} is no variant")
    if manifest.positive is not None and manifest.positive not in manifest.classes:
        raise BundleError(f"{path}: positive class {manifest.positive!r} is not among the classes")
    if manifest.accept.multi_frame == "each" and manifest.task != "multilabel" and manifest.positive is None:
        raise BundleError(f"{path}: accept.multi_frame: each, and no class that the frames are searched for")
    if any(point.name == LOCAL for point in manifest.operating_points):
        raise BundleError(f"{path}: an operating point is called {LOCAL!r}, as only a site's own may be")
    if len({column.name for column in manifest.columns}) != len(manifest.columns):
        raise BundleError(f"{path}: a column stands twice")
    for name, sets in manifest.doubt.sets.items():
        if set(sets.least) != set(manifest.classes):
            raise BundleError(f"{path}: doubt.sets of {name} are not of this bundle's classes")
    if strangers := set(manifest.reference) - set(manifest.variants):
        raise BundleError(f"{path}: reference names variants that are not there: {sorted(strangers)}")
    for engine in manifest.engines:
        variant = manifest.variants.get(engine.variant)
        if variant is None or manifest.parts[variant.file].sha256 != engine.model_sha256:
            raise BundleError(f"{path}: engine {engine.file} was not built from a model of this bundle")


def _check_parts(manifest: Manifest, parts: Mapping[str, bytes], path: Path) -> None:
    for name in parts:
        if not plain_name(name) or name in RESERVED:
            raise BundleError(f"{path}: part name {name!r} is not allowed")
    if set(parts) != set(manifest.parts):
        raise BundleError(f"{path}: parts and manifest differ: {sorted(set(parts) ^ set(manifest.parts))}")
    for name, part in manifest.parts.items():
        if len(parts[name]) != part.bytes or sha256_bytes(parts[name]) != part.sha256:
            raise BundleError(
                f"{path}: part {name} does not match its hash in the manifest: it was changed",
                next_step="install the bundle again",
            )


def unpack_to(bundle: Bundle, folder: Path) -> None:
    """Write an opened bundle's manifest, signatures and parts into `folder`, each durably (see `device.install`)."""
    for name in bundle.names():
        write_bytes(folder / name, bundle.read(name))
    write_text(folder / SIGNATURES, signature_lines(bundle.signatures))
    write_bytes(folder / MANIFEST, bundle.raw_manifest)


def open_folder(folder: Path | str, *, trusted: Sequence[PublicKey] = ()) -> Bundle:
    """Open an installed bundle, verifying signature and every part's hash on disk (see `open_bundle`).

    Symbolic links inside the folder are not followed: each would name a file that somebody else may change.

    Raises
    ------
    GateRefused
        Not signed by a trusted key.
    BundleError
        A part is missing or differs from the manifest.
    """
    folder = Path(folder)
    raw = _read_inside(folder, MANIFEST, MAX_MANIFEST_BYTES)
    signatures: tuple[Signature, ...] = ()
    if os.path.lexists(folder / SIGNATURES):
        signatures = parse_signatures(_read_inside(folder, SIGNATURES, 1 << 12), folder / SIGNATURES)
    signer = require_signature(raw, signatures, trusted, folder) if trusted else None
    files: dict[str, bytes] = {}
    for name in _parse_manifest(raw, folder).parts:
        if not plain_name(name):
            raise BundleError(f"{folder}: part name {name!r} is not allowed")
        try:
            files[name] = _read_inside(folder, name, MAX_BUNDLE_BYTES)
        except BundleError:
            raise
        except InputOutputError as error:
            raise BundleError(
                f"{folder}: part {name} is missing or unreadable: {error.message}",
                next_step=_AGAIN,
            ) from error
    return Bundle(raw, files, folder, signatures, signer)


def _read_inside(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    for above in path.relative_to(folder).parents:
        if (folder / above).is_symlink() and above != Path():
            raise BundleError(f"{folder / above} is a symbolic link, and is not followed", next_step=_AGAIN)
    return read_regular(path, limit, follow=False, error=BundleError)
