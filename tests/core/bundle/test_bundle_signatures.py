"""Who made a bundle: signatures in its trailer, checked before anything in it is parsed."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest
from bundles import make_key, write_tiny

from edgedx.core.bundle.container import MANIFEST, MAX_SIGNATURES
from edgedx.core.bundle.manifest import open_bundle, open_folder, sign_bundle, unpack_to
from edgedx.core.bundle.signing import load_signing_key
from edgedx.core.errors import BundleError, GateRefused

CHECKSUM = 64


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole bundle that nobody has signed."""
    path = tmp_path_factory.mktemp("good") / "tiny.edgedx"
    write_tiny(path)
    return path.read_bytes()


def _seal(body: bytes) -> bytes:
    return body + hashlib.sha256(body).hexdigest().encode()


def test_a_signature_by_a_trusted_key_opens_a_bundle(tmp_path: Path) -> None:
    key, other = make_key(tmp_path, "one"), make_key(tmp_path, "two")
    path = tmp_path / "a.edgedx"
    plain = write_tiny(path)
    with pytest.raises(GateRefused, match="not signed"):
        open_bundle(path, trusted=[key.public])
    sign_bundle(path, [key])
    found = open_bundle(path, trusted=[other.public, key.public])
    assert found.signed_by == key.public and found.digest == plain.digest
    with pytest.raises(GateRefused, match=f"is signed by {key.public.id}"):
        open_bundle(path, trusted=[other.public])


def test_signing_changes_nothing_but_the_trailer(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "a.edgedx"
    path.write_bytes(good)
    keys = [make_key(tmp_path, name) for name in ("one", "two")]
    sign_bundle(path, keys[:1])
    assert [one.key_id for one in sign_bundle(path, keys[1:])] == sorted(key.public.id for key in keys)
    data, end = path.read_bytes(), good.rindex(b"PK\x05\x06") + 20
    assert data[:end] == good[:end] and len(data) == len(good) + 2 * 144
    sign_bundle(path, keys)
    assert path.read_bytes() == data  # Ed25519 has no chance in it


def test_signed_while_it_is_written_is_the_same_file(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    write_tiny(tmp_path / "a.edgedx", keys=[key])
    write_tiny(tmp_path / "b.edgedx")
    sign_bundle(tmp_path / "b.edgedx", [key])
    assert (tmp_path / "a.edgedx").read_bytes() == (tmp_path / "b.edgedx").read_bytes()


def test_every_flipped_byte_of_a_signed_bundle_is_found(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    path = tmp_path / "a.edgedx"
    write_tiny(path, keys=[key])
    good, accepted = path.read_bytes(), []
    for offset in range(len(good)):
        data = bytearray(good)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(data)
        try:
            open_bundle(path, trusted=[key.public])
            accepted.append(offset)
        except BundleError:
            pass
    assert accepted == []


def test_nothing_is_parsed_before_the_signature_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forger can make the checksum right: the parsers must not even see his file."""
    key, forger = make_key(tmp_path, "one"), make_key(tmp_path, "forger")
    path = tmp_path / "a.edgedx"
    write_tiny(path, keys=[key])
    forged = {
        "other manifest": _changed(path.read_bytes(), b'"temperature":1.0', b'"temperature":9.0'),
        "signature of another": _renamed_signature(tmp_path, forger.public.id, key.public.id),
    }
    for parser in ("unpack", "_parse_manifest"):
        monkeypatch.setattr(f"edgedx.core.bundle.manifest.{parser}", _never)
    for data in forged.values():
        path.write_bytes(data)
        with pytest.raises(GateRefused, match="does not fit"):
            open_bundle(path, trusted=[key.public])


def _never(*_: object) -> None:
    raise AssertionError("parsed")


def _changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """Another value in the manifest, with CRC and checksum mended: all but the signature can be forged."""
    start = 30 + len(MANIFEST)
    length = int.from_bytes(data[18:22], "little")
    changed = data[start : start + length].replace(old, new)
    assert len(old) == len(new) and changed != data[start : start + length]
    crc = zlib.crc32(changed).to_bytes(4, "little")
    end = data.rindex(b"PK\x05\x06")
    table = int.from_bytes(data[end + 16 : end + 20], "little")
    body = data[:14] + crc + data[18:start] + changed + data[start + length : table + 16] + crc + data[table + 20 :]
    return _seal(body[:-CHECKSUM])


def _renamed_signature(folder: Path, forger: str, trusted: str) -> bytes:
    write_tiny(folder / "forged.edgedx", keys=[load_signing_key(folder / "forger.key")])
    data = (folder / "forged.edgedx").read_bytes()
    assert data.count(forger.encode()) == 1
    return _seal(data.replace(forger.encode(), trusted.encode())[:-CHECKSUM])


def test_a_key_that_has_signed_twice_and_too_many_keys_are_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    write_tiny(tmp_path / "a.edgedx", keys=[key])
    data = (tmp_path / "a.edgedx").read_bytes()
    end, at = data.rindex(b"PK\x05\x06"), len(data) - CHECKSUM
    entry = data[at - 144 : at]
    size = (8 + 2 * 144 + CHECKSUM).to_bytes(2, "little")
    (tmp_path / "twice.edgedx").write_bytes(_seal(data[: end + 20] + size + data[end + 22 : at] + entry))
    with pytest.raises(BundleError, match="signed twice"):
        open_bundle(tmp_path / "twice.edgedx")
    keys = [make_key(tmp_path, f"k{number}") for number in range(MAX_SIGNATURES + 1)]
    sign_bundle(tmp_path / "a.edgedx", keys[1:8])
    with pytest.raises(BundleError, match="more than"):
        sign_bundle(tmp_path / "a.edgedx", keys)


def test_a_bundle_that_no_device_would_take_is_not_signed(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "a.edgedx"
    path.write_bytes(_changed(good, b'"temperature":1.0', b'"temperature":0.0'))
    before = path.read_bytes()
    with pytest.raises(BundleError, match="temperature"):
        sign_bundle(path, [make_key(tmp_path)])
    assert path.read_bytes() == before


def test_an_unpacked_bundle_keeps_its_signatures(tmp_path: Path) -> None:
    key, other = make_key(tmp_path, "one"), make_key(tmp_path, "two")
    write_tiny(tmp_path / "a.edgedx", keys=[key])
    folder = tmp_path / "folder"
    unpack_to(open_bundle(tmp_path / "a.edgedx"), folder)
    assert open_folder(folder, trusted=[key.public]).signed_by == key.public
    with pytest.raises(GateRefused):
        open_folder(folder, trusted=[other.public])
    (folder / "signatures").write_bytes(b"")
    with pytest.raises(GateRefused, match="not signed"):
        open_folder(folder, trusted=[key.public])
    for spoiled in (b"x", b"00 00\n", b"\n" * 9):
        (folder / "signatures").write_bytes(spoiled)
        with pytest.raises(BundleError, match="signatures"):
            open_folder(folder)
