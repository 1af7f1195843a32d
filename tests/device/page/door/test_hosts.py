"""Names under which the page may be asked for, and addresses at which it is reached."""

from __future__ import annotations

import pytest

from edgedx.device.page.door.hosts import is_loopback, is_ours, reachable_at

NAMES = frozenset({"localhost", "clinic-box.local"})


@pytest.mark.parametrize(
    ("header", "reached", "ours"),
    [
        ("127.0.0.1:8443", "127.0.0.1", True),
        ("localhost:8443", "127.0.0.1", True),
        ("LOCALHOST:8443", "127.0.0.1", True),
        ("clinic-box.local.:8443", "10.0.0.7", True),
        ("10.0.0.7:8443", "10.0.0.7", True),
        ("10.0.0.7:8443", "::ffff:10.0.0.7", True),
        ("[fe80::1]:8443", "fe80::1%eth0", True),
        ("10.0.0.8:8443", "10.0.0.7", False),
        ("evil.example:8443", "127.0.0.1", False),
        ("localhost.evil.example:8443", "127.0.0.1", False),
        ("127.0.0.1:9000", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("localhost:8443@evil.example", "127.0.0.1", False),
        ("evil.example/?localhost:8443", "127.0.0.1", False),
        ("localhost:8443, evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("localhost:99999999", "127.0.0.1", False),
    ],
)
def test_a_page_knows_its_names(header: str, reached: str, ours: bool) -> None:
    assert is_ours(header, "https", (reached, 8443), NAMES) is ours


def test_the_port_of_the_scheme_need_not_be_named() -> None:
    assert is_ours("localhost", "https", ("127.0.0.1", 443), NAMES)
    assert is_ours("localhost", "http", ("127.0.0.1", 80), NAMES)
    assert not is_ours("localhost", "http", ("127.0.0.1", 443), NAMES)


def test_what_is_out_of_reach_of_others() -> None:
    assert [is_loopback(one) for one in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [True] * 4
    assert [is_loopback(one) for one in ("0.0.0.0", "::", "10.0.0.7", "fe80::1")] == [False] * 4
    with pytest.raises(ValueError, match="address"):
        is_loopback("clinic")


def test_everywhere_is_an_address_that_a_tablet_can_open() -> None:
    assert reachable_at("10.0.0.7") == ["10.0.0.7"]
    assert all("0.0.0.0" not in one and one != "::" for one in reachable_at("0.0.0.0"))
