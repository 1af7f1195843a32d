"""An arm64 root of Debian that runs here by emulation: made once, kept in a folder, entered without a network.

Needs root, debootstrap and qemu-user-static. Whatever is mounted is mounted in a mount namespace of its own, so that
nothing is left mounted however the caller ends; the network namespace is a new one too, so that "offline" is proven.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = "edgedx-aarch64"
# The first 20 bytes of an ELF file: 64 bits, little endian, any ABI byte, an executable or a library, for AArch64.
_MAGIC = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_PACKAGES = "python3"  # no python3-venv and no pip, as on a device fresh from its vendor


def missing() -> str | None:
    """Why this machine cannot run an arm64 root, or None."""
    if os.geteuid() != 0:
        return "needs root, for chroot and binfmt_misc"
    absent = [name for name in ("debootstrap", "qemu-aarch64-static", "unshare", "mount") if not shutil.which(name)]
    return f"apt-get install debootstrap qemu-user-static (missing: {', '.join(absent)})" if absent else None


@contextmanager
def emulation() -> Iterator[None]:
    """Let the kernel run arm64 programs by qemu; what was registered or mounted here is taken back.

    Flag F: the kernel opens qemu now, so that it is found from inside a root that does not have it.
    """
    mounted = registered = False
    try:
        if not (BINFMT / "register").exists():
            _run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
            mounted = True
        if not _has_handler():
            qemu = shutil.which("qemu-aarch64-static")
            (BINFMT / "register").write_text(f":{HANDLER}:M::{_MAGIC}:{_MASK}:{qemu}:F")
            registered = True
        yield
    finally:
        if registered:
            (BINFMT / HANDLER).write_text("-1")
        if mounted:
            subprocess.run(["umount", str(BINFMT)], check=False)


def _has_handler() -> bool:
    magic = _MAGIC.replace("\\x", "")
    return any(
        f"magic {magic}" in path.read_text() and "enabled" in path.read_text() for path in BINFMT.glob("*aarch64*")
    )


def make_root(folder: Path) -> Path:
    """The root of Debian below `folder`, from this machine's own Debian mirror; made unless it is there whole."""
    uri, suite = _mirror()
    root = folder / f"debian-{suite}-arm64"
    done = root / ".whole"
    if done.exists():
        return root
    shutil.rmtree(root, ignore_errors=True)  # an attempt that was killed
    root.mkdir(parents=True)
    options = ["--arch=arm64", "--variant=minbase", f"--include={_PACKAGES}", "--foreign"]
    _run(["debootstrap", *options, suite, str(root), uri])
    _run(enter(root, "/debootstrap/debootstrap", "--second-stage"))
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    done.touch()
    return root


def enter(root: Path, *command: str | Path, bind: Sequence[tuple[Path, str]] = ()) -> list[str]:
    """The command line that runs `command` inside `root`: own mounts, processes and network, and no way out of it.

    Parameters
    ----------
    bind : sequence of (Path, str)
        Folders of this machine, and where they are seen inside, read-only.
    """
    inside = shlex.quote(str(root))
    lines = ["set -e", f"mount -t proc proc {inside}/proc"]
    for name in ("null", "zero", "random", "urandom"):
        lines += [f"rm -f {inside}/dev/{name}; touch {inside}/dev/{name}; mount --bind /dev/{name} {inside}/dev/{name}"]
    lines += [f"mkdir -p {inside}/dev/shm", f"mount -t tmpfs tmpfs {inside}/dev/shm"]
    for source, target in bind:
        there = shlex.quote(f"{root}/{target.lstrip('/')}")
        lines += [f"mkdir -p {there}", f"mount --bind -o ro {shlex.quote(str(source))} {there}"]
    environment = "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 OMP_NUM_THREADS=1 COLUMNS=140"
    lines.append(f"exec chroot {inside} {environment} {shlex.join(map(str, command))}")
    namespaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]
    return [*namespaces, "bash", "-c", "\n".join(lines)]


def _mirror() -> tuple[str, str]:
    """Address and suite of the Debian mirror that apt uses on this machine: the first that has ``main``."""
    wanted = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    for line in _run(wanted).splitlines():
        uri, suite, component = line.split()
        if component == "main" and "-" not in suite:
            return uri, suite
    raise RuntimeError("apt knows no Debian archive: run apt-get update")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    import sys
    import time

    begun = time.monotonic()
    with emulation():
        print(make_root(Path(sys.argv[1])), f"{time.monotonic() - begun:.0f} s")
