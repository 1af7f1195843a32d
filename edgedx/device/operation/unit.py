"""A systemd unit that runs the scanner as a service with no more rights than it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

WATCHDOG_SECONDS = 600
"""Longer than the longest step of the work loop: a batch whose every file takes the decoder to its time limit."""

_HARDENED = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
{devices}
ProtectProc=invisible
ProcSubset=all
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
UMask=0027
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
{network}"""
_GPU = """\
# The GPU's device nodes are needed, so that PrivateDevices=yes cannot be.
DevicePolicy=closed
DeviceAllow=char-nvidia rw
DeviceAllow=char-nvidia-uvm rw
DeviceAllow=/dev/nvhost-ctrl rw
DeviceAllow=/dev/nvmap rw"""
_OFFLINE = """\
# Nothing leaves this machine, and nothing comes in: the scanner talks to systemd alone.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
IPAddressDeny=any"""
_LOOPBACK = """\
# Metrics are served on loopback.
RestrictAddressFamilies=AF_UNIX AF_INET
IPAddressDeny=any
IPAddressAllow=localhost"""
_OPEN = """\
# DICOM objects come in, or go out to a PACS: name its addresses with IPAddressAllow= and deny the rest.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"""


def unit_text(
    command: Sequence[str],
    *,
    writable: Sequence[Path],
    readable: Sequence[Path] = (),
    user: str = "edgedx",
    gpu: bool = False,
    network: str = "none",
    memory: str = "2G",
) -> str:
    """A unit file for ``/etc/systemd/system/edgedx-scan.service``.

    Parameters
    ----------
    command : sequence of str
        With absolute paths.
    writable : sequence of Path
        Inbox (what cannot be read is moved out of it), output folder, root of the installed bundle (its trial).
    readable : sequence of Path
        What must be seen besides, below /home for instance.
    network : str
        ``none``, ``loopback`` or ``open``.
    memory : str
        MemoryMax: scanner and decoder together.
    """
    paths = [*writable, *readable]
    home = "tmpfs" if any(str(path).startswith(("/home/", "/root/")) for path in paths) else "yes"
    bound = [f"BindPaths={_quoted(path)}" for path in writable] + [
        f"BindReadOnlyPaths={_quoted(path)}" for path in readable
    ]
    places = bound if home == "tmpfs" else [f"ReadWritePaths={' '.join(_quoted(path) for path in writable)}"]
    hardened = _HARDENED.format(
        home=home,
        devices=_GPU if gpu else "PrivateDevices=yes",
        network={"none": _OFFLINE, "loopback": _LOOPBACK, "open": _OPEN}[network],
    )
    return f"""\
# Made by `edgedx scan --print-systemd`. Research software, not a medical device.
#   useradd --system --no-create-home {user}     once; it must own the folders below ReadWritePaths= or BindPaths=
#   systemctl daemon-reload && systemctl enable --now edgedx-scan
[Unit]
Description=edgedx scanner
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.exec.html
StartLimitIntervalSec=0
# Where one of these is on a disk of its own, nothing starts below its bare mount point.
RequiresMountsFor={" ".join(_quoted(path) for path in paths)}

[Service]
Type=notify
ExecStart={" ".join(_quoted(word) for word in command)}
User={user}
Group={user}
Restart=always
RestartSec=10
WatchdogSec={WATCHDOG_SECONDS}
TimeoutStartSec=300
TimeoutStopSec=90
MemoryMax={memory}
TasksMax=256
OOMPolicy=continue
{chr(10).join(places)}
{hardened}

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str | Path) -> str:
    """For a unit file: % and $ would be replaced, blanks and quotes would divide (systemd.service(5))."""
    text = str(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(sign in text for sign in " \"'\\;") else text
