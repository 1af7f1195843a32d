"""The device half: seconds from wheels to a proven bundle, megabytes installed, seconds from a cold start to a result.

    python benchmarks/device_half.py BUNDLE [--runs 3] [--arm64 FOLDER]

Each run makes an environment from a wheelhouse (`edgedx wheelhouse`, for this Python) with the script that
`edgedx push` runs on a device, installs BUNDLE there, and reads one DICOM file of 512 x 512 pixels with a new
process, whose code the system may still hold in memory. `--arm64` repeats it in the arm64 Debian of `make test-arm64`,
by emulation: marked so, and no measure of any device.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import chroot

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.files import write_json
from edgedx.core.settings.profile import load_profile
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.remote.on_device import BUILD
from edgedx.lab.remote.wheelhouse import make_wheelhouse
from edgedx.lab.run.stage import machine

ENVIRONMENT = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8"]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    """Measure, write benchmarks/results/device_half.json and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--arm64", type=Path, help="Folder of the arm64 Debian; made there if it is absent.")
    options = parser.parse_args()
    manifest = open_bundle(options.bundle).manifest
    report: dict[str, Any] = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "runs": options.runs,
        "bundle": {"name": manifest.name, "bytes": options.bundle.stat().st_size},
    }
    with tempfile.TemporaryDirectory() as name:
        report["here"] = measure(Path(name), "", lambda *words: [*ENVIRONMENT, *words], "x86-avx2", HERE,
                                 Path(getattr(sys, "_base_executable", sys.executable)), options)  # fmt: skip
    if options.arm64:
        with chroot.emulation():
            root = chroot.make_root(options.arm64)
            place = root / "srv/bench"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            found = measure(place, str(root), lambda *words: chroot.enter(root, *words), "raspberry-pi-5", "3.11",
                            Path("python3"), options)  # fmt: skip
            shutil.rmtree(place)
        report["arm64"] = {"emulated": "qemu-user on the machine above: sizes hold, seconds say nothing of a device",
                           **found}  # fmt: skip
    write_json(Path(__file__).parent / "results" / "device_half.json", report)
    for title in ("here", "arm64"):
        if found := report.get(title):
            print(title + (" (EMULATED)" if "emulated" in found else ""))
            for key, value in found.items():
                print(f"  {key:<26} {value}")


def measure(
    place: Path,
    outside: str,
    start: Callable[..., list[str]],
    device: str,
    python: str,
    executable: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Repeat the whole way in `place`; `outside` is what the device's paths lack in front to be ours."""
    inside = str(place).removeprefix(outside)
    house = make_wheelhouse(load_profile(device), place / "house", python=python)
    shutil.copy(options.bundle, place / "model.edgedx")
    pixels = np.random.default_rng(0).integers(0, 4096, (512, 512), dtype=np.uint16)
    write_dicom(place / "image.dcm", pixels, kind="CR", bits_stored=12)
    seconds: dict[str, list[float]] = {"environment": [], "bundle": [], "ready": [], "first_result": []}
    for run in range(options.runs):
        root = place / f"run{run}"
        shutil.copytree(place / "house", root / "wheels")
        begun = time.perf_counter()
        words = (f"{inside}/run{run}", "venv", f"{inside}/run{run}/wheels", house.pip, str(executable))
        _run(start("sh", "-c", BUILD, "sh", *words))
        built = time.perf_counter()
        tool, slots = f"{inside}/run{run}/venv/bin/edgedx", f"{inside}/run{run}/bundle"
        _run(start(tool, "install", f"{inside}/model.edgedx", "--root", slots, "--variant", "fp32", "--allow-unsigned",
                   "--any-device"))  # fmt: skip
        ready = time.perf_counter()
        seconds["environment"].append(built - begun)
        seconds["bundle"].append(ready - built)
        seconds["ready"].append(ready - begun)
        (root / "inbox").mkdir()
        shutil.copy(place / "image.dcm", root / "inbox")
        seconds["first_result"].append(
            _first_result(
                start(
                    tool,
                    "scan",
                    f"{inside}/run{run}/inbox",
                    "--bundle",
                    f"{slots}/current",
                    "--out",
                    f"{inside}/run{run}/out",
                    "--once",
                    "--settle",
                    "0",
                ),
                root / "out/results",
            )  # fmt: skip
        )
        packages = next((root / "venv/lib").glob("python3*/site-packages"))
        sizes = {path.name: _bytes(path) for path in packages.iterdir()}
        if run < options.runs - 1:
            shutil.rmtree(root)
    return {
        "python": house.target.python,
        "arch": house.target.arch,
        "wheels": len(house.files),
        "wheels_mb": round(house.bytes / 1e6, 1),
        "site_packages_mb": round(sum(sizes.values()) / 1e6, 1),
        "largest_mb": {name: round(size / 1e6, 1) for name, size in sorted(sizes.items(), key=lambda one: -one[1])[:6]},
        **{f"{name}_s": _spread(values) for name, values in seconds.items()},
    }


def _first_result(command: Sequence[str], results: Path) -> float:
    """Seconds from starting the scanner to the first result on disk."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not any(results.glob("*.json")):
            if process.poll() is not None:
                raise SystemExit(f"the scanner ended with {process.returncode} before its first result")
            time.sleep(0.005)
        found = time.perf_counter() - begun
        process.wait()
    (path,) = results.glob("*.json")
    assert json.loads(path.read_text())["status"] == "done"
    return found


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[-1]}: {done.stdout}{done.stderr}")


def _bytes(path: Path) -> int:
    return sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file() and not one.is_symlink())


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 2), "min": round(min(values), 2), "max": round(max(values), 2)}


if __name__ == "__main__":
    main()
