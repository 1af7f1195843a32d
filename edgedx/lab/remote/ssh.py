"""One device over ssh: run a command there, copy files there, and say in words what went wrong.

The user's own ssh decides whom to trust: host keys are checked as the ssh configuration says, and nobody is asked for
a password (BatchMode). Nothing but ssh is needed on this side, and a shell and tar on the other; rsync is used where
both have it, because it goes on where a broken connection left off.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from edgedx.core.errors import (
    DependencyMissing,
    EdgedxError,
    InputOutputError,
    MissingError,
    StorageError,
    UsageError,
)

_CONNECT_S = 15
_LOST = 255  # ssh's own exit code; a command's is passed on
_LONGEST_SOCKET = 90  # a Unix socket's path has 108 bytes, and ssh appends to it


class Remote:
    """A device that ssh reaches. Use it as a context: one connection serves all calls, and is closed at the end.

    Parameters
    ----------
    host : str
        ``user@host``, or a name of the ssh configuration.
    port : int, optional
    identity : Path, optional
        Private key.
    ssh_config : Path, optional
        Configuration to read instead of the user's (``ssh -F``).

    Raises
    ------
    UsageError
        `host` is not a host.
    DependencyMissing
        There is no ssh here.
    """

    def __init__(
        self, host: str, *, port: int | None = None, identity: Path | None = None, ssh_config: Path | None = None
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.\[\]:%@+-]+", host) or host.startswith("-") or "@-" in host:
            raise UsageError(f"{host!r} is not a host", next_step="give user@host, or a name of your ssh config")
        if shutil.which("ssh") is None:
            raise DependencyMissing("there is no ssh on this machine", next_step="sudo apt install openssh-client")
        self.host = host
        self._sockets = Path(tempfile.mkdtemp(prefix="edgedx-"))
        self._options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
        self._options += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        if len(str(self._sockets)) + 41 < _LONGEST_SOCKET:
            self._options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._sockets}/%C"]
            self._options += ["-o", "ControlPersist=60"]
        self._options += ["-F", str(ssh_config.absolute())] if ssh_config else []
        self._options += ["-p", str(port)] if port else []
        self._options += ["-i", str(identity.absolute()), "-o", "IdentitiesOnly=yes"] if identity else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["ssh", *self._options, "-O", "exit", "--", self.host], capture_output=True, check=False)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def run(self, *command: str, check: bool = True, limit: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command there; its words arrive as they are, whatever they hold.

        Parameters
        ----------
        check : bool
            Whether a command that fails is an error.
        limit : float, optional
            Seconds to wait for it.

        Raises
        ------
        InputOutputError
            No connection, or no end within `limit`; or, with `check`, the command failed.
        StorageError
            The disk there is full.
        """
        try:
            done = subprocess.run(
                ["ssh", *self._options, "--", self.host, shlex.join(command)],
                capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False, timeout=limit,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise InputOutputError(
                f"{self.host}: no answer within {limit:.0f} s",
                next_step=f"try `ssh {self.host} true`: a shell's start-up file there may wait for something",
            ) from error
        if done.returncode == _LOST:
            raise self._unreached(done.stderr)
        if check and done.returncode:
            raise self.failure(done)
        return done

    def shell(
        self, script: str, *arguments: str, check: bool = True, limit: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a POSIX shell script there; see `run`. Arguments are $1, $2 ..."""
        return self.run("sh", "-c", script, "sh", *arguments, check=check, limit=limit)

    def copy(self, files: Mapping[str, tuple[Path, str]], folder: str, *, rsync: bool) -> int:
        """Make `folder` there hold these files; what is there already, by content, is not sent again.

        Parameters
        ----------
        files : mapping of str to (Path, str)
            Name there, to the file here and its SHA-256. Names are plain: no slash, no space.
        rsync : bool
            Whether the other side has rsync.

        Returns
        -------
        int
            Bytes sent, at most.

        Raises
        ------
        StorageError, InputOutputError
            Full disk; lost connection; or what arrived is not what was sent.
        """
        self.run("mkdir", "-p", folder)
        lacking = self._lacking(files, folder)
        if not lacking:
            return 0
        with tempfile.TemporaryDirectory(prefix="edgedx-") as name:
            for there in lacking:
                (Path(name) / there).symlink_to(files[there][0].resolve())
            if rsync and shutil.which("rsync"):
                self._by_rsync(Path(name), folder)
            else:
                self._by_tar(Path(name), lacking, folder)
        if left := self._lacking(files, folder):
            raise InputOutputError(
                f"{self.host}: {left[0]} did not arrive whole", next_step="again; what arrived is kept"
            )
        return sum(files[there][0].stat().st_size for there in lacking)

    def _lacking(self, files: Mapping[str, tuple[Path, str]], folder: str) -> list[str]:
        listed = self.shell('cd "$1" && find . -maxdepth 1 -type f -exec sha256sum {} +', folder).stdout
        found = {
            name.removeprefix("./"): sha256
            for sha256, _, name in (line.partition("  ") for line in listed.splitlines())
        }
        return [name for name, (_, sha256) in files.items() if found.get(name) != sha256]

    def _by_rsync(self, stage: Path, folder: str) -> None:
        # rsync takes the words of -e apart itself: in quotes, a quote is doubled.
        transport = " ".join("'" + word.replace("'", "''") + "'" for word in ("ssh", *self._options))
        command = ["rsync", "-rtL", "--partial-dir=.partial", "--protect-args", "-e", transport]
        done = subprocess.run(
            [*command, f"{stage}/", f"{self.host}:{folder}/"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == _LOST:
            raise self._unreached(done.stderr)
        if done.returncode:
            raise self.failure(done)

    def _by_tar(self, stage: Path, names: list[str], folder: str) -> None:
        with subprocess.Popen(
            ["tar", "-C", str(stage), "-chf", "-", "--", *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as packing:
            done = subprocess.run(
                ["ssh", *self._options, "--", self.host, shlex.join(["tar", "-C", folder, "-xf", "-"])],
                stdin=packing.stdout, capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
            if packing.stdout:
                packing.stdout.close()
        if done.returncode == _LOST:
            raise self._unreached(done.stderr)
        if done.returncode:
            raise self.failure(done)

    def failure(self, done: subprocess.CompletedProcess[str]) -> EdgedxError:
        """What a command that failed there has to say, as an error of our tree."""
        text = done.stderr.strip() or done.stdout.strip()
        if re.search(r"No space left on device|Disk quota exceeded|tar: .*: Wrote only \d+ of", text):
            return StorageError(f"{self.host}: the disk is full", next_step="free space there, then again")
        if done.returncode == 127:
            return MissingError(f"{self.host}: {_last(text)}", next_step="install that program there")
        if "Permission denied" in text or "Read-only file system" in text:
            return StorageError(
                f"{self.host}: {_last(text)}", next_step="name a folder with --folder that you may write"
            )
        return InputOutputError(f"{self.host}: {_last(text)}", next_step="see the message above, from the device")

    def _unreached(self, text: str) -> InputOutputError:
        """ssh's own complaints, each with what helps."""
        if re.search(r"Host key verification failed|IDENTIFICATION HAS CHANGED|No \w+ host key is known", text):
            return InputOutputError(
                f"{self.host}: its host key is not known here, or is another than before",
                next_step=f"compare the fingerprint with the device's, then accept it by hand: ssh {self.host}",
            )
        if re.search(r"Permission denied|Too many authentication failures|no mutual signature", text):
            return InputOutputError(
                f"{self.host}: it refuses every key of yours",
                next_step=f"ssh-copy-id {self.host}, or give the key with --identity",
            )
        return InputOutputError(
            f"{self.host}: no connection: {_last(text)}", next_step="is it on and in the network? try: ssh " + self.host
        )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("Warning:", "mux_"))]
    return (lines or ["no message"])[-1][:300]
