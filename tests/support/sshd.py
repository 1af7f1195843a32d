"""A real sshd on the loopback, as the user who runs the tests, with keys and configuration of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
_TOOLS = ("sh", "bash", "tar", "find", "sha256sum", "mkdir", "mktemp", "rm", "ln", "mv", "touch", "sync", "flock",
          "test", "readlink", "sleep")  # fmt: skip
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = Path(getattr(sys, "_base_executable", sys.executable))


@dataclass(frozen=True)
class Sshd:
    """A running server.

    Attributes
    ----------
    config : Path
        ssh configuration of the client: the host ``device`` is this server, its key is known, ours is trusted.
    folder : Path
        Where its keys and configuration are.
    """

    config: Path
    folder: Path
    port: int


def absent() -> str | None:
    """Why no sshd can be run here, or None."""
    if PROGRAM is None or shutil.which("ssh-keygen") is None:
        return "no sshd here: apt-get install openssh-server"
    return None


@contextmanager
def server(
    folder: Path, *, with_rsync: bool = True, python_path: Path | None = None, python: Path = HERE
) -> Iterator[Sshd]:
    """Run an sshd whose sessions see Python, the usual tools and rsync or not, and nothing of this user's shell files.

    Parameters
    ----------
    python_path : Path, optional
        Packages that Python finds there without being installed.
    python : Path
        The one interpreter that is there.
    """
    assert PROGRAM is not None
    tools = folder / "tools"
    tools.mkdir(parents=True)
    for name in ("host_key", "user_key", "other_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user_key.pub").read_text())
    (tools / "python3").symlink_to(python)
    for name in (*_TOOLS, *(["rsync"] if with_rsync else [])):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    # SHLVL: a bash that sshd starts at level 0 reads the user's .bashrc, whatever it may hold.
    environment = [f"PATH={tools}", "OMP_NUM_THREADS=1", "SHLVL=2"]
    environment += [f"PYTHONPATH={python_path}"] if python_path else []
    port = _free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin yes\nLogLevel VERBOSE\nSetEnv {' '.join(environment)}\n"
    )
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "ssh_config").write_text(
        f"Host device\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n"
        "  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
    )
    with _separation_folder(), (folder / "sshd.log").open("w") as log:
        running = subprocess.Popen([PROGRAM, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
        try:
            _wait(port, running, folder / "sshd.log")
            yield Sshd(folder / "ssh_config", folder, port)
        finally:
            running.terminate()
            running.wait(10)


@contextmanager
def _separation_folder() -> Iterator[None]:
    """As root, sshd wants an empty folder that its package makes at boot."""
    folder = Path("/run/sshd")
    made = os.geteuid() == 0 and not folder.exists()
    if made:
        folder.mkdir(mode=0o755)
    try:
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        if running.poll() is not None:
            raise RuntimeError(f"sshd ended: {log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not answer: {log.read_text()}")
