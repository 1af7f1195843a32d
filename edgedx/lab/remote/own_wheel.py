"""edgedx as a wheel, for a device without internet: built from the source tree, or put together again as installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from edgedx.core.errors import DependencyMissing, InputOutputError
from edgedx.core.files import write_bytes

SOURCE = Path(__file__).resolve().parents[3]
_OF_THE_INSTALL = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def pip_command() -> list[str]:
    """How pip is called here.

    Raises
    ------
    DependencyMissing
        This environment has no pip.
    """
    if find_spec("pip") is None:
        raise DependencyMissing(
            "pip is not in this environment; a wheelhouse is made with it",
            next_step=f"{sys.executable} -m ensurepip, or install pip with the tool that made the environment",
        )
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def own_wheel(folder: Path, source: Path = SOURCE) -> Path:
    """Put the wheel of this very edgedx into `folder`.

    A source tree is built with its own back end; an installed edgedx is put together again from its files, so that
    no index need hold it.

    Raises
    ------
    InputOutputError
        The build failed, or the installed files are not whole.
    """
    if not (source / "pyproject.toml").is_file():
        return repack("edgedx", folder)
    command = [*pip_command(), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    if find_spec("hatchling") is not None:
        command.append("--no-build-isolation")  # offline, and seconds faster
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("edgedx-*.whl"))
    if done.returncode or not found:
        tail = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise InputOutputError(
            f"no wheel could be built from {source}: {' / '.join(tail)}",
            next_step="pip install hatchling, then again; or run edgedx as it was installed from a wheel",
        )
    return found[-1]


def repack(name: str, folder: Path) -> Path:
    """Put an installed package that was a pure wheel together again; byte for byte what was installed.

    Raises
    ------
    InputOutputError
        Not installed from a wheel, editable, with native code, or changed since.
    """
    try:
        package = distribution(name)
    except PackageNotFoundError:
        raise InputOutputError(f"{name} is not installed here", next_step=f"pip install {name}") from None
    tags = [line.partition(":")[2].strip() for line in (package.read_text("WHEEL") or "").splitlines()
            if line.startswith("Tag:")]  # fmt: skip
    files = _files(package)
    if len(tags) != 1 or not tags[0].endswith("-none-any") or f"{name}/__init__.py" not in files:
        raise InputOutputError(
            f"{name} as it is installed here cannot be made a wheel again: editable, or with native code",
            next_step=f"pip install --force-reinstall {name} from a wheel; or run from the source tree",
        )
    info = next(path.split("/")[0] for path in files if path.split("/")[0].endswith(".dist-info"))
    rows = [(path, _record_hash(data), str(len(data))) for path, data in sorted(files.items())]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    files[f"{info}/RECORD"] = text.getvalue().encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(files.items()):
            entry = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data)
    wheel = folder / f"{info.removesuffix('.dist-info')}-{tags[0]}.whl"
    write_bytes(wheel, buffer.getvalue())
    return wheel


def _files(package: Distribution) -> dict[str, bytes]:
    """What the wheel held: not what pip added, no byte code, no script (the entry points make those again)."""
    kept: dict[str, bytes] = {}
    for path in package.files or []:
        posix = PurePosixPath(path)
        own = posix.parts[0].endswith(".dist-info") and posix.name in _OF_THE_INSTALL
        if own or ".." in posix.parts or posix.is_absolute() or posix.suffix in {".pyc", ".pth"}:
            continue
        data = Path(str(path.locate())).read_bytes() if Path(str(path.locate())).is_file() else b""
        if path.hash is None or path.hash.value != _record_hash(data).partition("=")[2]:
            raise InputOutputError(
                f"{path} was changed since it was installed", next_step="pip install --force-reinstall edgedx"
            )
        kept[str(posix)] = data
    return kept


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
