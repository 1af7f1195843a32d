"""A systemd unit that runs the scanner as a service with no more rights than it needs."""

from __future__ import annotations

import grp
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgedx.core.errors import UsageError
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
DeviceAllow=char-nvidia* rw
DeviceAllow=char-nvhost* rw
DeviceAllow=char-nvgpu* rw
DeviceAllow=/dev/nvmap rw"""
_NODES = ("nvidia*", "nvidia-caps/*", "nvgpu/*/*", "nvhost-*", "nvmap", "nvsciipc", "dri/renderD*")
"""Below /dev: of cards, and of Jetsons with JetPack 5 and 6."""
_GPU_GROUPS = ("video", "render")  # who may open them
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""What ProtectHome= and PrivateTmp= hide, unless it is bound."""
_OFFLINE = """\
# Nothing leaves this machine, and nothing comes in: it talks to systemd alone.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
IPAddressDeny=any"""
_LOOPBACK = """\
# It is served on loopback alone.
RestrictAddressFamilies=AF_UNIX AF_INET
IPAddressDeny=any
IPAddressAllow=localhost"""
_OPEN = """\
# A PACS, or people before the page, are in the network: name their addresses with IPAddressAllow=, and deny the rest.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"""
_WEB = """\
# It asks a web server, and nobody asks it: name that one's address with IPAddressAllow=, and deny the rest.
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
    command = program_command()
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
        gpu=bool(gpu_nodes()),
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
    memory: str | None = None,
    name: str = "edgedx-scan",
    title: str = "edgedx scanner",
    kept: Sequence[Path] = (),
    after: str = "",
    watchdog: int = WATCHDOG_SECONDS,
) -> str:
    """A unit file for ``/etc/systemd/system/NAME.service`` of this machine.

    Parameters
    ----------
    command : sequence of str
        With absolute paths.
    writable : sequence of Path
        Inbox (what cannot be read is moved out of it), output folder, root of the installed bundle (its trial).
    readable : sequence of Path
        What must be seen besides; where the program itself lies is added.
    gpu : bool
        Let the device nodes of `gpu_nodes` through, and the groups that may open them.
    network : str
        ``none``, ``loopback``, ``open``, or ``web``: it asks others.
    memory : str, optional
        MemoryMax, scanner and decoder together; 2G, with a GPU 4G, unless given.
    name, title : str
        Of the service.
    kept : sequence of Path
        What lies in a writable folder and may be read alone; it need not be there.
    after : str
        Service that must be ready before, where it is started at all.
    watchdog : int
        Seconds without a sign of life after which systemd starts it anew.

    Raises
    ------
    UsageError
        A path or argument that no unit file can hold.
    """
    words = [quoted(word) for word in command]
    rights = rights_text(writable=writable, readable=readable, kept=kept, gpu=gpu, network=network)
    return f"""\
# Made by `edgedx scan unit`. Research software, not a medical device.
#   useradd --system --no-create-home {user}     once; it must own the folders below ReadWritePaths= or BindPaths=
#   systemctl daemon-reload && systemctl enable --now {name}
[Unit]
Description={title}
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.exec.html
StartLimitIntervalSec=0
# Where one of these is on a disk of its own, nothing starts below its bare mount point.
{mounts_line([*writable, *readable])}
{f"After={after}{chr(10)}" if after else ""}
[Service]
Type=notify
# The colon: no $ in a path or argument is a variable.
ExecStart=:{" ".join(words)}
User={user}
Group={user}
Restart=always
RestartSec=10
WatchdogSec={watchdog}
TimeoutStartSec=300
TimeoutStopSec=90
MemoryMax={memory or ("4G" if gpu else "2G")}
TasksMax=256
OOMPolicy=continue
{rights}

[Install]
WantedBy=multi-user.target
"""


def rights_text(
    *,
    writable: Sequence[Path],
    readable: Sequence[Path] = (),
    kept: Sequence[Path] = (),
    gpu: bool = False,
    network: str = "none",
) -> str:
    """Lines of a service that leave it these folders and this network, and nothing else that it does not need.

    See `unit_text` for the parameters.
    """
    for path in (*writable, *readable):
        quoted(path)  # for its error
    needed = [*readable, *program_paths()]
    hardened = _HARDENED.format(
        home="tmpfs" if any(_hidden_names(path) for path in (*writable, *needed)) else "yes",
        devices=_gpu_lines() if gpu else "PrivateDevices=yes",
        network={"none": _OFFLINE, "loopback": _LOOPBACK, "open": _OPEN, "web": _WEB}[network],
    )
    return "\n".join([*_path_lines(writable, needed), *_kept_lines(kept), hardened])


def mounts_line(paths: Sequence[Path]) -> str:
    """The line that lets a service wait for the disks of some folders, under their names and their real ones."""
    mounts = dict.fromkeys(path for given in paths for path in (given, Path(os.path.realpath(given))))
    return f"RequiresMountsFor={' '.join(quoted(path) for path in mounts)}"


def program_command() -> list[str]:
    """How a unit calls edgedx: by its path, else by this interpreter."""
    program = shutil.which("edgedx")
    return [str(Path(program).absolute())] if program else [sys.executable, "-m", "edgedx"]


def _path_lines(writable: Sequence[Path], readable: Sequence[Path]) -> list[str]:
    """What is hidden is bound, under its name and its real one; the rest is there, and may be written where it must."""
    open_ = [path for path in writable if not _hidden_names(path)]
    lines = [f"ReadWritePaths={' '.join(quoted(path) for path in open_)}"] if open_ else []
    for setting, paths in (("BindReadOnlyPaths", readable), ("BindPaths", writable)):
        hidden = dict.fromkeys(name for path in paths for name in _hidden_names(path))
        lines += [f"{setting}={quoted(path, colon=True)}" for path in hidden]
    return lines


def _kept_lines(paths: Sequence[Path]) -> list[str]:
    """The minus: one that is not there yet is passed over."""
    return [f"ReadOnlyPaths={' '.join(_minus(path) for path in paths)}"] if paths else []


def _minus(path: Path) -> str:
    text = quoted(path)
    return f'"-{text[1:]}' if text.startswith('"') else f"-{text}"


def _hidden_names(path: Path) -> list[Path]:
    real = Path(os.path.realpath(path))
    names = [path] if _is_hidden(path) else [real]  # a link at a place that is seen stays, and leads to what is bound
    return [name for name in names if _is_hidden(name)]


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(hidden) for hidden in _HIDDEN)


def program_paths() -> list[Path]:
    """Folders that the running interpreter and its packages lie in; a virtual environment names those of another."""
    given = [sys.prefix, sys.exec_prefix, sys.base_prefix, os.path.dirname(sys.executable), *sys.path]
    given += [os.path.dirname(os.path.realpath(sys.executable)), str(Path(__file__).parents[3])]
    found = {Path(path) for entry in given if os.path.isdir(entry) for path in (entry, os.path.realpath(entry))}
    absolute = sorted(path for path in found if path.is_absolute())
    return [path for path in absolute if not any(path != above and path.is_relative_to(above) for above in absolute)]


def gpu_nodes(dev: Path = Path("/dev")) -> list[Path]:
    """Device nodes of NVIDIA's GPUs on this machine, those of Jetsons among them."""
    named = [path for path in dev.glob("nv*") if path.name.startswith(("nvidia", "nvhost", "nvmap", "nvgpu"))]
    if not named:  # a render node alone is another maker's
        return []
    nodes = {path for pattern in _NODES for path in dev.glob(pattern) if not path.is_dir()}
    return sorted(nodes)


def _gpu_lines() -> str:
    there = [group.gr_name for group in grp.getgrall() if group.gr_name in _GPU_GROUPS]  # an unknown one ends the unit
    nodes = [f"DeviceAllow={path} rw" for path in gpu_nodes() if str(path) != "/dev/nvmap"]
    groups = [f"SupplementaryGroups={' '.join(sorted(there))}"] if there else []
    return "\n".join([_GPU, *nodes, *groups])


def quoted(word: str | Path, *, colon: bool = False) -> str:
    """For a unit file: % would be replaced, blanks and quotes would divide (systemd.syntax(7)).

    Parameters
    ----------
    colon : bool
        In a list where a colon divides, which BindPaths= is.
    """
    text = str(word)
    if any(ord(sign) < 32 or ord(sign) == 127 or "\ud800" <= sign <= "\udfff" for sign in text):
        raise UsageError(f"{text!r} cannot stand in a unit file", next_step="rename it: no control characters, UTF-8")
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if colon:
        text = text.replace(":", "\\:")
    return f'"{text}"' if text == "" or any(sign in text for sign in " \"'\\;:") else text
