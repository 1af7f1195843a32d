"""systemd's notification socket (sd_notify(3)): ready, still alive, stopping. Without systemd nothing happens."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(message: str) -> None:
    """Send one message, such as ``READY=1``; it is lost where nobody listens, which is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    target = f"\0{address[1:]}" if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
        end.sendto(message.encode(), target)
