"""The box's certificate: made once, known by its fingerprint, made anew before it ends."""

from __future__ import annotations

import ssl
import stat
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.device.page.door import certificate as module
from edgedx.device.page.door.certificate import fingerprint_of, given_certificate, own_certificate, terminal_code

NAMES, ADDRESSES = ["clinic-box", "localhost"], ["10.0.0.7", "fe80::1%eth0"]


def test_it_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, NAMES, ADDRESSES)
    assert made.fresh and stat.S_IMODE(made.key.stat().st_mode) == 0o600
    again = own_certificate(tmp_path, ["other"], [])
    assert not again.fresh and again.fingerprint == made.fingerprint
    assert made.fingerprint.count(":") == 31 and made.fingerprint == made.fingerprint.upper()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)


def test_it_says_names_and_addresses_and_what_apple_takes(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, NAMES, ADDRESSES)
    read = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    said = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert said.get_values_for_type(x509.DNSName) == NAMES
    assert [str(one) for one in said.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "fe80::1"]
    assert (read.not_valid_after_utc - read.not_valid_before_utc).days <= 825
    assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_half_of_it_or_one_that_ends_soon_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = own_certificate(tmp_path, NAMES, [])
    first.key.unlink()
    second = own_certificate(tmp_path, NAMES, [])
    assert second.fresh and second.fingerprint != first.fingerprint
    second.certificate.write_text("-----BEGIN CERTIFICATE-----\nhalf")
    third = own_certificate(tmp_path, NAMES, [])
    assert third.fresh
    monkeypatch.setattr(module, "_RENEWED", module.DAYS)
    assert own_certificate(tmp_path, NAMES, []).fresh


def test_a_clock_at_1970_makes_one_that_is_valid_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reset(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            return datetime(1970, 1, 1, tzinfo=tz)

    monkeypatch.setattr(module, "datetime", Reset)
    made = own_certificate(tmp_path, NAMES, [])
    read = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert read.not_valid_before_utc == datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_what_is_given_belongs_together(tmp_path: Path) -> None:
    one, other = own_certificate(tmp_path / "a", NAMES, []), own_certificate(tmp_path / "b", NAMES, [])
    assert given_certificate(one.certificate, one.key).fingerprint == one.fingerprint
    for certificate, key in ((one.certificate, other.key), (one.key, one.key), (tmp_path / "none", one.key)):
        with pytest.raises(UsageError, match=r"none|pem"):
            given_certificate(certificate, key)
    with pytest.raises(InputOutputError, match="no certificate"):
        fingerprint_of(one.key)


def test_a_phone_reads_the_address_from_the_terminal() -> None:
    """No escape sequence: what prints it makes those visible."""
    drawn = terminal_code("https://10.0.0.7:8443/", "AB:CD:EF" * 10)
    assert "\x1b" not in drawn and len(drawn.splitlines()) > 10
