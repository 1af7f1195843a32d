"""Other people's tools for the benchmarks: each in a virtual environment of its own, driven by a small script there.

Their pins contradict each other's and edgedx's, and one is AGPL: nothing of them is imported by edgedx or its tests. A
script in ``benchmarks/foreign/`` reads .onnx, .npy or folders and writes the same; edgedx judges what comes back.
"""

from __future__ import annotations

import os
import subprocess
import venv
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "foreign"
PACKAGES = {
    "ort": ["onnxruntime", "onnx", "sympy"],
    "nncf": ["nncf", "openvino", "onnx", "onnxruntime", "pydantic"],
    "modelopt": ["nvidia-modelopt[onnx]"],
    # Ultralytics' own build without a desktop's libraries; onnxslim is what its exporter would install by itself
    "ultralytics": ["ultralytics-opencv-headless", "torch=={torch}", "torchvision", "onnx", "onnxslim", "onnxruntime"],
}
LIMIT = 7200.0
"""Seconds that one call of a tool may take."""


class Foreign(Exception):
    """A tool did not install, or failed; the message says why."""


class Tool:
    """One tool in its environment below `work`, which is made with pip the first time.

    Raises
    ------
    Foreign
        It does not install.
    """

    def __init__(self, name: str, work: Path) -> None:
        self.name, self.home = name, work / f"venv-{name}"
        self.python = self.home / "bin" / "python"
        self._packages = [one.format(torch=version("torch").partition("+")[0]) for one in PACKAGES[name]]
        done = self.home / "installed"
        if not done.is_file():
            venv.create(self.home, with_pip=True, clear=True)
            self._run("-m", "pip", "install", "-q", *self._packages)
            done.write_text("\n")

    def run(self, script: str, *arguments: object) -> None:
        """Run ``foreign/SCRIPT.py`` there.

        Raises
        ------
        Foreign
            It failed; with the last lines of what it said.
        """
        self._run(str(SCRIPTS / f"{script}.py"), *map(str, arguments))

    def versions(self) -> list[str]:
        """``nncf==3.4.0`` of what was asked for."""
        listed = subprocess.run([self.python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
        names = {one.partition("[")[0].partition("=")[0] for one in self._packages}
        return [line for line in listed.splitlines() if line.partition("==")[0] in names]

    def _run(self, *command: str) -> None:
        # The clock's script times with edgedx's own device half, which needs nothing that is not there.
        around = os.environ | {"PYTHONPATH": str(HERE.parent)}
        try:
            done = subprocess.run(
                [str(self.python), *command], capture_output=True, text=True, timeout=LIMIT, check=False, env=around
            )
        except subprocess.TimeoutExpired as error:
            raise Foreign(f"took longer than {LIMIT / 3600:g} hours") from error
        if done.returncode:
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])[-600:]
            raise Foreign(said.replace(f"{self.home.parent}/", "").replace(f"{HERE.parent}/", ""))  # results are public
