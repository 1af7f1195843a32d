"""A systemd service and its timer: a device takes its updates, and tells its status, by itself at night."""

from __future__ import annotations

from pathlib import Path

from edgedx.device.operation.unit import gpu_nodes, mounts_line, program_command, quoted, rights_text

from .places import read_box

NAME = "edgedx-update"
AT = "*-*-* 01:00:00"
SPREAD = "4h"
"""Devices ask at a moment within this time, each always at its own: a thousand do not ask at once."""
LONGEST = "20h"
"""A bundle of 40 MB takes 2 hours at 64 kbit/s, and what has come is kept at the end of this."""


def service_text(
    where: str,
    root: Path,
    *,
    out: Path | None = None,
    to: str | None = None,
    token: Path | None = None,
    restart: str | None = "edgedx-scan",
    user: str = "edgedx",
) -> str:
    """A unit file for ``/etc/systemd/system/edgedx-update.service``.

    Parameters
    ----------
    where : str
        Address or folder of the repository.
    out, to : Path, str, optional
        Output folder of the scanner, and where its status goes; none is told unless both are given.
    restart : str, optional
        Service that opens the new model, once an update ended well.

    Raises
    ------
    GateRefused
        The device has no name yet (see `trust`).
    UsageError
        A path that no unit file can hold.
    """
    read_box(root)
    root, web = root.absolute(), "://" in where
    source = where if web else str(Path(where).absolute())
    program = program_command()
    lines = [f"ExecStart=:{_words([*program, 'install', '--from', source, '--root', str(root)])}"]
    if restart:
        lines += [
            "# With all rights, and only this: the scanner keeps the model that it opened. It loses nothing by it.",
            f"ExecStartPost=+systemctl try-restart {quoted(restart)}.service",
        ]
    readable = [] if web else [Path(source)]
    writable = [root]
    if out is not None and to is not None:
        sink = to if "://" in to else str(Path(to).absolute())
        words = [*program, "fleet", "status", "--root", str(root), "--out", str(out.absolute()), "--to", sink]
        words += ["--token", str(token.absolute())] if token is not None else []
        lines += ["# Whether the update went well or not.", f"ExecStopPost=:{_words(words)}"]
        readable += [out.absolute(), *([token.absolute()] if token is not None else [])]
        writable += [] if "://" in sink else [Path(sink)]
        web = web or "://" in sink
    rights = rights_text(writable=writable, readable=readable, gpu=bool(gpu_nodes()), network="web" if web else "none")
    nl = "\n"
    return f"""\
# Made by `edgedx fleet unit`. Research software, not a medical device.
#   {user} must own the folder of --root. This file is {NAME}.service; `edgedx fleet unit --timer` prints {NAME}.timer
#   systemctl daemon-reload && systemctl enable --now {NAME}.timer
[Unit]
Description=edgedx: update from the fleet's repository
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.exec.html
{"Wants=network-online.target" + nl + "After=network-online.target" + nl if web else ""}\
{mounts_line([root])}

[Service]
Type=oneshot
{nl.join(lines)}
User={user}
Group={user}
TimeoutStartSec={LONGEST}
TimeoutStopSec=10min
Nice=10
IOSchedulingClass=idle
MemoryMax={"4G" if gpu_nodes() else "2G"}
TasksMax=256
{rights}
"""


def timer_text(at: str = AT) -> str:
    """A unit file for ``/etc/systemd/system/edgedx-update.timer``.

    Parameters
    ----------
    at : str
        When, as systemd.time(7) has it.
    """
    return f"""\
# Made by `edgedx fleet unit --timer`. Research software, not a medical device.
[Unit]
Description=edgedx: update from the fleet's repository, at night

[Timer]
OnCalendar={quoted(at).strip('"')}
# Each device always at its own moment; one that was off asks after its next start.
RandomizedDelaySec={SPREAD}
FixedRandomDelay=yes
Persistent=yes

[Install]
WantedBy=timers.target
"""


def _words(words: list[str]) -> str:
    return " ".join(quoted(word) for word in words)
