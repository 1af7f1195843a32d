"""The unit under a real systemd: a Debian of debootstrap, booted by systemd-nspawn, with hostile paths.

Run by `make test-systemd`, as root, with debootstrap and systemd-container; the first run makes the Debian (a minute).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from bundles import png, write_tiny
from pacs import wait_for

from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.device.operation.heartbeat import read_heartbeat
from edgedx.device.operation.unit import program_paths, unit_text

FOLDER = os.environ.get("EDGEDX_SYSTEMD")
WHY = "EDGEDX_SYSTEMD names no folder: make test-systemd"
if FOLDER is not None:
    lacking = [name for name in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(name) is None]
    WHY = f"not installed: {', '.join(lacking)}" if lacking else "" if os.geteuid() == 0 else "needs root"
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)

HOSTILE = "cli nic/100%n $HOME/it's:a\\b"
"""Below /home and /srv: blanks, a specifier, a variable, a quote, a colon and a backslash."""


@pytest.fixture(scope="module")
def debian() -> Path:
    """A root folder with systemd, and the service's user in it."""
    assert FOLDER is not None
    root = Path(FOLDER)
    if not (root / "lib/systemd/systemd").exists():
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", "bookworm", root], check=True
        )
    if "edgedx:" not in (root / "etc/passwd").read_text():
        subprocess.run(["chroot", root, "useradd", "--system", "--no-create-home", "edgedx"], check=True)
    return root


class Site:
    """Folders as a clinic has them, at the same paths inside the container and outside."""

    def __init__(self, folder: Path, debian: Path) -> None:
        self.folder, self.debian = folder, debian
        self.inbox, self.out, self.root = folder / "inbox", folder / "out", folder / "device"
        for made in (self.inbox, self.out):
            made.mkdir(parents=True)
        write_tiny(folder / "a.edgedx")
        install_bundle(folder / "a.edgedx", self.root, allow_unsigned=True, examine=examine, prove=prove)
        self.venv = folder.parent / "venv $HOME 100%n"  # venv refuses a colon
        self.python = self.venv / "bin/python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        packages = next((self.venv / "lib").glob("python*")) / "site-packages"
        (packages / "here.pth").write_text("\n".join(entry for entry in sys.path if entry.startswith("/")) + "\n")
        owner = next(line for line in (debian / "etc/passwd").read_text().splitlines() if line.startswith("edgedx:"))
        self.uid, self.gid = (int(number) for number in owner.split(":")[2:4])
        for path in (self.inbox, self.out, self.root, *self.root.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def command(self, *more: str) -> list[str]:
        given = [self.inbox, "--bundle", self.root, "--out", self.out, "--interval", "0.5", "--settle", "0.2", *more]
        return [str(self.python), "-m", "edgedx", "scan", *map(str, given)]

    def seen(self) -> list[Path]:
        """Folders of this machine that the container must have: site, interpreter and packages."""
        every = [self.folder, self.venv, *program_paths(), Path(sys.base_prefix)]
        return [path for path in dict.fromkeys(every) if not path.is_relative_to("/usr")]


@pytest.fixture(params=["home", "srv"])
def site(debian: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    top = Path(f"/{request.param}") / f"edgedx-trial-{os.getpid()}"
    try:
        yield Site(top / HOSTILE, debian)
    finally:
        shutil.rmtree(top)


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


class Container:
    """A booted Debian with the unit enabled."""

    def __init__(self, site: Site, text: str) -> None:
        units = site.debian / "etc/systemd/system"
        (units / "edgedx-scan.service").write_text(text)
        wanted = units / "multi-user.target.wants"
        wanted.mkdir(exist_ok=True)
        (wanted / "edgedx-scan.service").unlink(missing_ok=True)
        (wanted / "edgedx-scan.service").symlink_to("/etc/systemd/system/edgedx-scan.service")
        (site.debian / "home/patients").mkdir(exist_ok=True)
        binds = [
            f"--bind={str(path).replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}" for path in site.seen()
        ]
        command = ["systemd-nspawn", "-q", "-D", str(site.debian), "--boot", "--register=no", "--keep-unit",
                   f"--machine=edgedx{os.getpid()}", "--kill-signal=SIGRTMIN+3", "--console=pipe", *binds]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def inside(self, *command: str, pid: int | None = None) -> str:
        """Output of a command in the container, or in the namespaces of one of its processes."""
        target = pid or psutil.Process(self.process.pid).children()[0].pid
        done = subprocess.run(
            ["nsenter", "-t", str(target), "-m", "-u", "-i", "-n", "-p", "--", *command],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout

    def property(self, name: str) -> str:
        return self.inside("systemctl", "show", "edgedx-scan", "-P", name).strip()

    def end(self) -> str:
        """Power off; returns what the console said."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.communicate(timeout=120)[0].decode(errors="replace")
        finally:
            self.process.kill()
            self.process.wait()


def test_the_unit_serves_from_hostile_paths_and_sees_nothing_else(site: Site) -> None:
    text = unit_text(site.command(), writable=[site.inbox, site.out, site.root], readable=site.seen()[1:])
    container = Container(site, text)
    try:
        wait_for(lambda: psutil.Process(container.process.pid).children())
        wait_for(lambda: container.property("ActiveState") == "active" or int(container.property("NRestarts") or 0) > 1)
        assert container.property("ActiveState") == "active", container.inside(
            "journalctl", "-u", "edgedx-scan", "--no-pager"
        )
        png(site.inbox / "a.png")
        os.chown(site.inbox / "a.png", site.uid, site.gid)
        (site.inbox / "letter.txt").write_text("Dear colleague")
        os.chown(site.inbox / "letter.txt", site.uid, site.gid)
        wait_for(lambda: len(list((site.out / "results").glob("*.json"))) == 2)
        wait_for(lambda: list((site.out / "quarantine").glob("*letter.txt")))
        assert all(path.stat().st_mode & 0o007 == 0 for path in (site.out / "results").glob("*.json"))
        main = next(
            child.pid for child in psutil.Process(container.process.pid).children(recursive=True)
            if child.uids().real == site.uid and "scan" in child.cmdline()
        )  # fmt: skip
        assert "patients" not in container.inside("/bin/ls", "/home", pid=main), "other homes are hidden"
        assert [line.split(":")[0].strip() for line in Path(f"/proc/{main}/net/dev").read_text().splitlines()[2:]] == [
            "lo"
        ]
        assert {str(site.inbox), str(site.out)} <= set(
            shlex.split(container.property("RequiresMountsFor").replace("\\$", "$"))
        )
        assert container.property("NRestarts") == "0"
    finally:
        said = container.end()
    assert read_heartbeat(site.out)["state"] == "stopped", said
