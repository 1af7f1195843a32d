"""Under which names the page may be asked for: any other is another site's script that found this address.

DNS rebinding gives a stranger's name this box's address; the name in the Host header tells it (as `prometheus_http`
does for metrics). An address in it can only be the one that the browser connected to.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_STANDARD = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's own, out of reach of others.

    Raises
    ------
    ValueError
        It is no address, and not ``localhost``.
    """
    return host == "localhost" or ip_address(host).is_loopback


def own_names() -> tuple[str, ...]:
    """Names that this machine has by itself, in the local network's way (mDNS) too."""
    name = socket.gethostname().lower().rstrip(".")
    return tuple(dict.fromkeys((name, f"{name.partition('.')[0]}.local", "localhost")))


def is_ours(header: str, scheme: str, reached: tuple[str, int], names: Collection[str]) -> bool:
    """Whether a Host header names this page.

    Parameters
    ----------
    reached : tuple
        Address and port of this machine that the client connected to.
    names : collection of str
        In lower case; an address among them is as good as a name.

    Examples
    --------
    >>> is_ours("127.0.0.1:8443", "https", ("127.0.0.1", 8443), ["localhost"])
    True
    >>> is_ours("clinic.example:8443", "https", ("127.0.0.1", 8443), ["localhost"])
    False
    """
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    host, port = found["host"].strip("[]").lower().rstrip("."), int(found["port"] or _STANDARD[scheme])
    if port != reached[1]:
        return False
    return host in names or _same_address(host, reached[0])


def _same_address(one: str, other: str) -> bool:
    try:
        return _plain(one) == _plain(other)
    except ValueError:
        return False


def _plain(address: str) -> object:
    parsed = ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def reachable_at(host: str) -> list[str]:
    """Addresses of this machine that a page listening at `host` is reached at; no packet is sent.

    Every address where it listens at all of them (``0.0.0.0`` or ``::``), as far as routes tell it.
    """
    if not ip_address(host).is_unspecified:
        return [host]
    found = []
    for family, away in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((away, 9))  # of UDP: chooses a route, and with it the address, and sends nothing
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found or ["127.0.0.1"]
