"""A systemd unit that runs the scanner as a service with no more rights than it needs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgedx.device.install.active import installed_at

from .service import ScanJob

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


def scanner_unit(words: Sequence[str], job: ScanJob, *, files: Sequence[Path] = (), log: Path | None = None) -> str:
    """The unit of a scanner with the rights that its job needs.

    Parameters
    ----------
    words : sequence of str
        What follows ``edgedx scan`` in the call; relative paths in it become absolute.
    files : sequence of Path
        Further files that the call names or needs, to be read: of the PACS and of TLS.
    """
    program = shutil.which("edgedx")
    command = [str(Path(program).absolute())] if program else [sys.executable, "-m", "edgedx"]
    named = {str(path): str(path.absolute()) for path in (job.inbox, job.bundle, job.out, log, *files) if path}
    command.append("scan")
    for word in words:
        option, sign, value = word.partition("=")
        command.append(f"{option}={named.get(value, value)}" if sign else named.get(word, word))
    installed = installed_at(job.bundle) if job.bundle.exists() else None
    root = [installed[0].absolute()] if installed is not None else []
    given = [path.absolute() for path in files]
    network = "open" if job.pacs else "none" if job.metrics_port is None else "loopback"
    return unit_text(
        command,
        writable=[job.inbox.absolute(), job.out.absolute(), *root, *([log.absolute().parent] if log else [])],
        readable=given if root else [job.bundle.absolute(), *given],
        gpu=any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvhost-ctrl")),
        network=network,
    )


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
# Made by `edgedx scan unit`. Research software, not a medical device.
#   useradd --system --no-create-home {user}     once; it must own the folders below ReadWritePaths= or BindPaths=
#   systemctl daemon-reload && systemctl enable --now edgedx-scan
[Unit]
Description=edgedx scanner
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.exec.html
StartLimitIntervalSec=0

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
