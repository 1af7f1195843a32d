"""Keys are made once, kept secret, read strictly; a signature is one over this manifest by this key."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edgedx.core.bundle.signing import (
    PREFIX,
    PublicKey,
    Signature,
    is_encrypted,
    load_signing_key,
    new_key,
    parse_public,
    read_public,
    require_signature,
)
from edgedx.core.errors import AlreadyExists, GateRefused, InputOutputError, UsageError

# RFC 8032, section 7.1, test 1
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def _pem(private: object, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined,no-any-return]


def test_a_new_key_is_secret_and_its_public_half_is_one_line(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret, public = new_key("release-2026", tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert public.read_text().count("\n") == 1 and public.read_text().startswith("edgedx-ed25519 ")
    key = load_signing_key(secret)
    assert key.public == read_public(public) and len(key.public.id) == 16
    assert sorted(os.listdir(tmp_path / "keys")) == ["release-2026.key", "release-2026.pub"]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    ids = {load_signing_key(new_key(f"k{n}", tmp_path)[0]).public.id for n in range(4)}
    assert len(ids) == 4


@pytest.mark.parametrize("there", ["a.key", "a.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(AlreadyExists, match=there):
        new_key("a", tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {there: "precious"}


@pytest.mark.parametrize("name", ["", "../a", ".a", "a/b", "a b", "a\n", "x" * 41])
def test_a_name_that_is_none_for_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name"):
        new_key(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    secret, _ = new_key("a", tmp_path, "correct horse")
    assert is_encrypted(secret) and not is_encrypted(new_key("b", tmp_path)[0])
    with pytest.raises(UsageError, match="is encrypted"):
        load_signing_key(secret)
    with pytest.raises(UsageError, match="password of .* is wrong"):
        load_signing_key(secret, "wrong")
    assert load_signing_key(secret, "correct horse").public == read_public(tmp_path / "a.pub")
    with pytest.raises(UsageError, match="empty"):
        new_key("c", tmp_path, "")


def test_a_password_for_a_key_in_the_clear_does_not_matter(tmp_path: Path) -> None:
    secret, public = new_key("a", tmp_path)
    assert load_signing_key(secret, "any").public == read_public(public)


def test_what_is_no_private_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    good = _pem(ed25519.Ed25519PrivateKey.generate())
    for data in (
        b"",
        b"text",
        good[:60],
        good.replace(b"PRIVATE", b"PUBLIC"),
        _pem(ec.generate_private_key(ec.SECP256R1())),
    ):
        path.write_bytes(data)
        with pytest.raises(InputOutputError, match="not an Ed25519"):
            load_signing_key(path)
    with pytest.raises(InputOutputError, match="absent"):
        load_signing_key(tmp_path / "absent.key")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: "",
        lambda line: line.replace("edgedx-ed25519", "ssh-ed25519"),
        lambda line: line + line,
        lambda line: line.replace(" ", "  ", 1),
        lambda line: line[:-1] + " more\n",
        lambda line: line.replace("\n", "\r\n"),
        lambda line: line.replace(" a\n", " ../a\n"),
        lambda line: line.replace(" a\n", "\n"),
        lambda line: line.replace("=", ""),
        lambda line: line[:30] + "!" + line[31:],
        lambda line: f"edgedx-ed25519 {base64.b64encode(bytes(31)).decode()} a\n",
        lambda line: f"edgedx-ed25519 {base64.b64encode(bytes(33)).decode()} a\n",
        lambda line: "-----BEGIN PRIVATE KEY-----\n",
        lambda line: "\x00" * 100,
    ],
)
def test_a_public_key_is_read_strictly(spoil) -> None:  # type: ignore[no-untyped-def]
    line = PublicKey("a", PUBLIC).line()
    assert parse_public(line, "here") == parse_public(line[:-1], "here") == PublicKey("a", PUBLIC)
    with pytest.raises(InputOutputError, match="here"):
        parse_public(spoil(line), "here")


def test_a_signature_is_that_of_rfc_8032_over_prefix_and_manifest(tmp_path: Path) -> None:
    """Another implementation must be able to check it: here OpenSSL's command line, where it is."""
    private = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    (tmp_path / "rfc.key").write_bytes(_pem(private))
    key = load_signing_key(tmp_path / "rfc.key")
    assert key.public.raw == PUBLIC
    signature = key.sign(b"{}")
    ed25519.Ed25519PublicKey.from_public_bytes(PUBLIC).verify(signature.value, b"edgedx bundle manifest 1\n{}")
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "rfc.pem").write_bytes(pem)
    (tmp_path / "message").write_bytes(PREFIX + b"{}")
    (tmp_path / "signature").write_bytes(signature.value)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "rfc.pem", "-rawin", "-in", "message"]
    try:
        done = subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    assert done.returncode == 0, done.stderr


def test_one_signature_by_a_trusted_key_is_enough(tmp_path: Path) -> None:
    old, new, other = (load_signing_key(new_key(name, tmp_path)[0]) for name in ("old", "new", "other"))
    signed = [other.sign(b"m"), new.sign(b"m")]
    assert require_signature(b"m", signed, [old.public, new.public], "x") == new.public


def test_what_is_not_signed_by_a_trusted_key_is_refused(tmp_path: Path) -> None:
    key, other = (load_signing_key(new_key(name, tmp_path)[0]) for name in ("key", "other"))
    cases = {
        "not signed": [],
        "is signed by": [other.sign(b"m")],
        "does not fit": [key.sign(b"another manifest")],
        "by key .* does not fit": [other.sign(b"m"), Signature(key.public.id, other.sign(b"m").value)],
    }
    for says, signatures in cases.items():
        with pytest.raises(GateRefused, match=says):
            require_signature(b"m", signatures, [key.public], "x")


def test_every_flipped_bit_of_a_signature_is_found(tmp_path: Path) -> None:
    key = load_signing_key(new_key("a", tmp_path)[0])
    good = key.sign(b"manifest").value
    for bit in range(8 * len(good)):
        spoiled = bytearray(good)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(GateRefused, match="does not fit"):
            require_signature(b"manifest", [Signature(key.public.id, bytes(spoiled))], [key.public], "x")


def test_a_signature_without_the_prefix_is_none(tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    key = PublicKey("a", PUBLIC)
    with pytest.raises(GateRefused, match="does not fit"):
        require_signature(b"{}", [Signature(key.id, private.sign(b"{}"))], [key], "x")
