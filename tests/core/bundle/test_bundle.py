"""A bundle is read as it was written, or refused: no flipped bit, no foreign archive, no path out of it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import GOLDEN, MODEL, golden, manifest, model, write_tiny

from edgedx.core.bundle.container import MANIFEST, MAX_PARTS, RESERVED
from edgedx.core.bundle.manifest import Bundle, Engine, Golden, open_bundle, open_folder, unpack_to, write_bundle
from edgedx.core.errors import BundleError, InputOutputError

CHECKSUM = 64


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole bundle of a few KB."""
    path = tmp_path_factory.mktemp("good") / "tiny.edgedx"
    write_tiny(path)
    return path.read_bytes()


def _open(folder: Path, data: bytes) -> Bundle:
    path = folder / "try.edgedx"
    path.write_bytes(data)
    return open_bundle(path)


def _seal(body: bytes) -> bytes:
    """The checksum that a bundle ends with: anybody can compute it, so it protects from accidents alone."""
    return body + hashlib.sha256(body).hexdigest().encode()


def _sealed(fill: Callable[[zipfile.ZipFile], None], good: bytes) -> bytes:
    """A good bundle's parts and whatever `fill` adds, with a right checksum."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(stream, "w") as archive:
        for entry in source.infolist():
            archive.writestr(entry, source.read(entry))
        fill(archive)
        archive.comment = _trailer(len(source.read(MANIFEST)))
    return _seal(stream.getvalue()[:-CHECKSUM])


def _trailer(manifest_length: int) -> bytes:
    return f"{manifest_length:08x}".encode() + b"0" * CHECKSUM


def _table(data: bytes) -> int:
    """Where the table of contents begins; the golden samples are an archive too, and have one of their own."""
    end = data.rindex(b"PK\x05\x06")
    return int.from_bytes(data[end + 16 : end + 20], "little")


def _entry(name: str, mode: int = 0o100644, kind: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = mode << 16
    info.compress_type = kind
    return info


def test_what_was_written_is_read(tmp_path: Path) -> None:
    network = model()
    parts = {MODEL: network, GOLDEN: golden(network), "card/model-card.md": b"a card"}
    digest = write_bundle(tmp_path / "a.edgedx", manifest(), parts)
    found = open_bundle(tmp_path / "a.edgedx")
    assert {name: found.read(name) for name in found.names()} == parts
    assert found.digest == digest and found.model() == found.model("fp32") == network


def test_the_same_parts_give_the_same_file(tmp_path: Path, good: bytes) -> None:
    write_tiny(tmp_path / "again.edgedx")
    assert (tmp_path / "again.edgedx").read_bytes() == good


def test_an_unpacked_bundle_is_the_same_bundle(tmp_path: Path, good: bytes) -> None:
    packed = _open(tmp_path, good)
    unpack_to(packed, tmp_path / "folder")
    found = open_folder(tmp_path / "folder")
    assert found.digest == packed.digest and found.manifest == packed.manifest
    assert {name: found.read(name) for name in found.names()} == {name: packed.read(name) for name in packed.names()}


def test_every_flipped_byte_is_found(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "flipped.edgedx"
    accepted = []
    for offset in range(len(good)):
        data = bytearray(good)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(data)
        try:
            open_bundle(path)
            accepted.append(offset)
        except BundleError:
            pass
    assert accepted == []


def test_a_truncated_bundle_is_refused(tmp_path: Path, good: bytes) -> None:
    for length in (0, 1, CHECKSUM - 1, CHECKSUM, CHECKSUM + 1, len(good) // 2, len(good) - CHECKSUM, len(good) - 1):
        with pytest.raises(BundleError, match="try.edgedx"):
            _open(tmp_path, good[:length])


def test_an_extended_bundle_is_refused(tmp_path: Path, good: bytes) -> None:
    for data in (good + b"\n", b"\x00" + good, good + good):
        with pytest.raises(BundleError):
            _open(tmp_path, data)


def test_the_helper_that_seals_makes_readable_bundles(tmp_path: Path, good: bytes) -> None:
    assert _open(tmp_path, _sealed(lambda archive: None, good)).digest == _open(tmp_path, good).digest


FOREIGN: dict[str, tuple[str, Callable[[zipfile.ZipFile], None]]] = {
    "traversal": ("not allowed", lambda archive: archive.writestr(_entry("../../etc/cron.d/x"), b"x")),
    "traversal inside": ("not allowed", lambda archive: archive.writestr(_entry("a/../b"), b"x")),
    "absolute": ("not allowed", lambda archive: archive.writestr(_entry("/etc/passwd"), b"x")),
    "backslash": ("not allowed", lambda archive: archive.writestr(_entry("..\\x"), b"x")),
    "hidden": ("not allowed", lambda archive: archive.writestr(_entry(".ssh/keys"), b"x")),
    "long": ("not allowed", lambda archive: archive.writestr(_entry("a" * 200), b"x")),
    "duplicate": ("stands twice", lambda archive: archive.writestr(_entry(MODEL), b"x")),
    "second manifest": ("stands twice", lambda archive: archive.writestr(_entry(MANIFEST), b"{}")),
    "symlink": ("not a plain", lambda archive: archive.writestr(_entry("link", 0o120777), b"/etc/passwd")),
    "device": ("not a plain", lambda archive: archive.writestr(_entry("null", 0o020666), b"")),
    "folder": ("not", lambda archive: archive.writestr(_entry("folder/", 0o040755), b"")),
    "executable": ("not a plain", lambda archive: archive.writestr(_entry("run", 0o100755), b"x")),
    "deflated": ("not a plain", lambda a: a.writestr(_entry("x", kind=zipfile.ZIP_DEFLATED), bytes(99))),
    "extra part": ("differ.*extra", lambda archive: archive.writestr(_entry("extra"), b"x")),
    "too many": ("more than", lambda a: [a.writestr(_entry(f"p{n}"), b"") for n in range(MAX_PARTS)] and None),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("attack", FOREIGN)
def test_an_archive_that_we_would_not_have_written_is_refused(tmp_path: Path, good: bytes, attack: str) -> None:
    says, fill = FOREIGN[attack]
    with pytest.raises(BundleError, match=says):
        _open(tmp_path, _sealed(fill, good))


def _with_manifest(good: bytes, old: bytes, new: bytes) -> bytes:
    """A sealed bundle whose manifest has one thing replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(stream, "w") as archive:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == MANIFEST:
                assert old in data
                data = data.replace(old, new)
                archive.comment = _trailer(len(data))
            archive.writestr(_entry(entry.filename), data)
    return _seal(stream.getvalue()[:-CHECKSUM])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"schema_version":1', b'"schema_version":2', "schema_version"),
        (b'"temperature":1.0', b'"temperature":0.0', "temperature"),
        (b'"name":"tiny"', b'"name":"tiny","surprise":1', "surprise"),
        (b'"default_variant":"fp32"', b'"default_variant":"int8"', "default_variant"),
        (b'"positive":"bright"', b'"positive":"grey"', "positive"),
        (b'"version":"1"', b'"version":"1.0-beta"', "version"),
        (b'"name":"tiny"', b'"name":"../tiny"', "name"),
        (b'"backbone":"none"', b'"backbone": "none"', "canonical"),
        (b'"backbone":"none"', b'"backbone":"some","backbone":"none"', "canonical"),
        (b'"file":"golden.npz"', b'"file":"absent.npz"', "absent.npz"),
        (b"{", b"[", MANIFEST),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused_by_name(
    tmp_path: Path, good: bytes, old: bytes, new: bytes, says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        _open(tmp_path, _with_manifest(good, old, new))


def test_a_part_that_the_manifest_names_must_be_there(tmp_path: Path, good: bytes) -> None:
    part = b'"parts":{'
    with pytest.raises(BundleError, match="differ.*absent"):
        _open(tmp_path, _with_manifest(good, part, part + b'"absent":{"bytes":0,"sha256":"00"},'))


def test_a_part_that_differs_from_its_hash_is_refused(tmp_path: Path, good: bytes) -> None:
    with pytest.raises(BundleError, match="does not match its hash"):
        _open(tmp_path, _with_manifest(good, hashlib.sha256(model()).hexdigest().encode(), b"0" * 64))


def test_a_bundle_without_manifest_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(_entry("x"), b"x")
        archive.comment = _trailer(1)
    with pytest.raises(BundleError, match=MANIFEST):
        _open(tmp_path, _seal(stream.getvalue()[:-CHECKSUM]))


def test_something_sealed_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    for body in (b"", b"text", bytes(1000), b"PK\x05\x06" + bytes(18)):
        with pytest.raises(BundleError):
            _open(tmp_path, _seal(body))


def test_a_part_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path: Path, good: bytes) -> None:
    data = bytearray(good[:-CHECKSUM])
    at = _table(data)
    data[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    with pytest.raises(BundleError):
        _open(tmp_path, _seal(bytes(data)))


def test_resealed_damage_gives_our_error_or_our_parts_and_nothing_else(tmp_path: Path, good: bytes) -> None:
    dice = random.Random(3)
    whole = _open(tmp_path, good)
    structure = [n for n in range(len(good) - CHECKSUM) if n < 80 or n >= _table(good)]
    for _ in range(3000):
        data = bytearray(good[:-CHECKSUM])
        for _ in range(dice.choice((1, 1, 2, 4))):
            data[dice.choice(structure)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            found = _open(tmp_path, _seal(bytes(data)))
        except BundleError:
            continue
        assert {name: found.read(name) for name in found.names()} == {name: whole.read(name) for name in whole.names()}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="absent.edgedx"):
        open_bundle(tmp_path / "absent.edgedx")


def test_an_unknown_variant_lists_the_known(tmp_path: Path, good: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        _open(tmp_path, good).model("int8")
    assert caught.value.next_step is not None and "fp32" in caught.value.next_step


def test_a_manifest_that_names_missing_parts_is_not_written(tmp_path: Path) -> None:
    wrong = manifest(golden=Golden(file="absent.npz", count=2, tolerance={"fp32": 1e-4}))
    with pytest.raises(BundleError, match="absent.npz"):
        write_bundle(tmp_path / "a.edgedx", wrong, {MODEL: model()})
    assert list(tmp_path.iterdir()) == []


# The layout: nothing before the manifest, nothing between parts, nothing after them


def test_any_zip_reader_can_read_a_bundle(tmp_path: Path, good: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        assert archive.testzip() is None
        whole = _open(tmp_path, good)
        names = [entry.filename for entry in archive.infolist()]
        assert names == [MANIFEST, *sorted(whole.names())]
        assert archive.read(MODEL) == whole.model()


def test_python_writes_the_same_archive(tmp_path: Path, good: bytes) -> None:
    """Two writers that know nothing of each other agree on every byte."""
    assert _sealed(lambda archive: None, good) == good


def test_bytes_before_the_archive_are_refused(tmp_path: Path, good: bytes) -> None:
    for junk in (b"junk", good[: good.index(b"PK", 4)], b"#!/bin/sh\n"):
        with pytest.raises(BundleError):
            _open(tmp_path, _seal(junk + good[:-CHECKSUM]))


def test_bytes_between_parts_and_table_are_refused(tmp_path: Path, good: bytes) -> None:
    at = _table(good)
    with pytest.raises(BundleError):
        _open(tmp_path, _seal(good[:at] + b"junk" + good[at:-CHECKSUM]))


def test_a_bundle_without_trailer_is_from_another_version(tmp_path: Path, good: bytes) -> None:
    at = good.rindex(b"PK\x05\x06")
    old = good[: at + 20] + CHECKSUM.to_bytes(2, "little")
    with pytest.raises(BundleError, match="laid out") as caught:
        _open(tmp_path, _seal(old))
    assert caught.value.next_step is not None and "edgedx deploy" in caught.value.next_step


def test_a_manifest_length_that_is_wrong_is_refused(tmp_path: Path, good: bytes) -> None:
    trailer = len(good) - CHECKSUM - 8
    length = int(good[trailer : trailer + 8], 16)
    for wrong in (0, length - 1, length + 1, 2**32 - 1):
        with pytest.raises(BundleError):
            _open(tmp_path, _seal(good[:trailer] + f"{wrong:08x}".encode()))
    for text in (b"0000000G", b"0X00000A", b"+000000a", b"        "):
        with pytest.raises(BundleError):
            _open(tmp_path, _seal(good[:trailer] + text))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_part_cannot_have_the_name_of_what_a_slot_keeps_beside_it(tmp_path: Path, name: str) -> None:
    parts = {MODEL: model(), GOLDEN: golden(model()), name: b"x"}
    with pytest.raises(BundleError, match="not allowed"):
        write_bundle(tmp_path / "a.edgedx", manifest(), parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"variant": "int8"}, {"model_sha256": "0" * 64}])
def test_an_engine_of_another_model_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    facts = {
        "file": "engine.bin",
        "variant": "fp32",
        "runtime": "tensorrt_rtx",
        "runtime_version": "1.7",
        "model_sha256": hashlib.sha256(model()).hexdigest(),
        "bytes": 1,
        "sha256": hashlib.sha256(b"x").hexdigest(),
        "sm": ["8.9"],
    }
    parts = {MODEL: model(), GOLDEN: golden(model()), "engine.bin": b"x"}
    write_bundle(tmp_path / "good.edgedx", manifest(engines=[Engine.model_validate(facts)]), parts)
    with pytest.raises(BundleError, match="engine.bin"):
        write_bundle(tmp_path / "a.edgedx", manifest(engines=[Engine.model_validate({**facts, **wrong})]), parts)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(BundleError, match="regular"):
            open_bundle(path)


def test_a_file_that_is_not_as_long_as_it_said_is_told(tmp_path: Path) -> None:
    """As while it is being copied, or when its stick is pulled out: this one says 0 bytes and has more."""
    with pytest.raises(BundleError, match="changed while it was read"):
        open_bundle(Path("/proc/version"))
