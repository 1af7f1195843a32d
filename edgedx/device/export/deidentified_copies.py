"""De-identified copies of images with their results, out of an inbox and an output folder, whose audit log says so."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edgedx.core.errors import ImageError, InputOutputError, UsageError
from edgedx.core.files import read_json, sha256_bytes, storage_error, write_bytes, write_secret, write_text
from edgedx.core.result import Result
from edgedx.device.operation.audit import ExportAudit
from edgedx.dicom.deidentify import Mask, deidentify, require_anonymizer
from edgedx.dicom.pseudonyms import Pseudonyms
from edgedx.dicom.reading.source import read_bytes

KEY = "deid.key"
_NO_TIME = "1970-01-01T00:00:00+00:00"


@dataclass
class Exported:
    """What was written, and what was not, by code.

    Attributes
    ----------
    written : int
    left_out : Counter of str
        ``ABSENT``: not in the inbox with this content. ``NOT_DICOM``: a raster file, whose header says nothing about
        what is burned in. Or a code of `deidentify`.
    """

    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def select(out: Path, statuses: Collection[str], keys: Sequence[str], since: int) -> list[Result]:
    """Results of the scanner that writes to `out`, in order of arrival; what was quarantined cannot be exported.

    Parameters
    ----------
    statuses : collection of str
        ``done``, ``refused``.
    keys : sequence of str
        Beginnings of keys; none: all.
    since : int
        The least sequence.

    Raises
    ------
    InputOutputError
        No results there, or one that is not of this version.
    UsageError
        A key that no result has.
    """
    folder, found = out / "results", []
    if not folder.is_dir():
        raise InputOutputError(f"no folder {folder}", next_step="name the --out that `edgedx scan` was given")
    for path in folder.glob("[0-9a-f]*.json"):
        try:
            found.append(Result.model_validate(read_json(path)))
        except ValueError:
            raise InputOutputError(f"{path} is not a result of this version", next_step="move it away") from None
    for key in keys:
        if not key or not any(result.key.startswith(key) for result in found):
            raise UsageError(
                f"no result has a key that begins with {key!r}", next_step=f"look at the names in {folder}"
            )
    found = [
        result
        for result in found
        if result.status in statuses
        and result.sequence >= since
        and (not keys or any(result.key.startswith(key) for key in keys))
    ]
    return sorted(found, key=lambda result: result.sequence)


def load_key(out: Path) -> Pseudonyms:
    """The key of this output folder's pseudonyms, made at first use; it must never leave with what is exported.

    Raises
    ------
    InputOutputError, StorageError
        It cannot be read or made.
    """
    path = out / KEY
    if not path.exists():
        write_secret(path, secrets.token_hex(32).encode())
    try:
        return Pseudonyms(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except OSError as error:
        raise storage_error(path, error) from error
    except ValueError:
        raise InputOutputError(
            f"{path} is no key of ours", next_step="put the right one back; with a new one, pseudonyms change"
        ) from None


def check_target(out: Path, inbox: Path, to: Path) -> None:
    """Refuse a folder where copies would be scanned, or mixed with results.

    Raises
    ------
    UsageError
        It lies inside the inbox or the output folder.
    InputOutputError
        There is no inbox.
    """
    if not inbox.is_dir():
        raise InputOutputError(f"no folder {inbox}", next_step="mount it, or name it with --inbox")
    target = to.resolve()
    for own in (inbox.resolve(), out.resolve()):
        if own == target or own in target.parents:
            raise UsageError(f"--to {to} lies inside {own}", next_step="choose a folder outside of inbox and results")


def export(
    results: Sequence[Result],
    out: Path,
    inbox: Path,
    to: Path,
    *,
    masks: Sequence[Mask] = (),
    each: Callable[[], None] = lambda: None,
) -> Exported:
    """Write ``NAME.dcm`` and ``NAME.json`` for each result; the same results overwrite the same files.

    Each image that is exported stands in the audit log of `out`.

    Parameters
    ----------
    results : sequence of Result
        See `select`.
    to : Path
        Made where it is not there.
    masks : sequence of (x, y, width, height)
        Painted over in every image.
    each : callable
        Called after each.

    Raises
    ------
    DependencyMissing
        dicom-anonymizer is not installed.
    UsageError, InputOutputError, StorageError
        See `check_target` and `load_key`; or the folder, or the audit log, cannot be written.
    """
    require_anonymizer()
    check_target(out, inbox, to)
    names, done, audit = load_key(out), Exported(), ExportAudit(out)
    try:
        for result in results:
            try:
                _export_one(result, _content(result, inbox), names, to, masks, audit)
                done.written += 1
            except ImageError as error:
                done.left_out[error.code] += 1
            each()
    finally:
        audit.close()
    return done


def _content(result: Result, inbox: Path) -> bytes:
    if result.source.format != "dicom":
        raise ImageError("NOT_DICOM", "not a DICOM file")
    name = PurePosixPath(result.source.name)
    try:
        inside = not name.is_absolute() and ".." not in name.parts
        data = read_bytes(inbox / name, result.source.bytes) if inside else b""
    except InputOutputError:  # gone, or longer than it was
        data = b""
    if sha256_bytes(data) != result.source.sha256:
        raise ImageError("ABSENT", "not in the inbox with this content")
    return data


def _export_one(
    result: Result, data: bytes, names: Pseudonyms, to: Path, masks: Sequence[Mask], audit: ExportAudit
) -> None:
    copy = deidentify(data, names, masks)
    key = names.key(result.key)
    name = f"{key[:32]}.dcm"
    source = result.source.model_copy(
        update={
            "name": name,
            "sha256": sha256_bytes(copy),
            "bytes": len(copy),
            "sop_instance_uid": names.uid(result.source.sop_instance_uid or "") or None,
        }
    )
    # When and in which order images came would tell who of those who were there it was.
    told = result.model_copy(
        update={"key": key, "source": source, "sequence": 0, "created": _NO_TIME, "clock_trusted": False}
    )
    audit.record(result)  # first: no copy is ever there that the audit log does not know
    write_bytes(to / name, copy)
    write_text(to / f"{key[:32]}.json", told.model_dump_json(indent=2) + "\n")
