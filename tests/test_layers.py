"""Imports go one way, cli -> lab -> device -> dicom -> core, and the device half runs without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "edgedx"
ORDER = ["core", "dicom", "device", "lab", "cli"]
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "torch_pruning",
    "accelerate",
    "sklearn",
    "matplotlib",
    "onnx",
    "scipy",
    "optuna",
    "captum",
    "skimage",
)
MODULES = sorted(
    ".".join(("edgedx", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in PACKAGE.rglob("*.py")
)
DEVICE_HALF = [name for name in MODULES if ".lab" not in name and not name.endswith(("__init__", "__main__"))]


def _zone(module: str) -> int | None:
    parts = module.split(".")
    return ORDER.index(parts[1]) if parts[0] == "edgedx" and len(parts) > 1 and parts[1] in ORDER else None


def _imports(path: Path, module: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            found.add(".".join([*base, *((node.module or "").split(".") if node.module else [])]))
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if _zone(name) is not None])
def test_a_zone_imports_only_itself_and_zones_below(module: str) -> None:
    path = PACKAGE.parent / Path(*module.split(".")).with_suffix(".py")
    own = _zone(module)
    assert own is not None
    above = {name for name in _imports(path, module) if (zone := _zone(name)) is not None and zone > own}
    assert not above


def _fresh(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_core_dicom_device_and_cli_import_without_torch_in_a_fresh_interpreter() -> None:
    block = (
        "import sys, importlib.abc\n"
        f"heavy = {HEAVY!r}\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in heavy: raise ModuleNotFoundError(name, name=name.split('.')[0])\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"import importlib\nfor name in {DEVICE_HALF!r}: importlib.import_module(name)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in heavy]\n"
    )
    done = _fresh(block)
    assert done.returncode == 0, done.stderr


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    light = (*HEAVY, "cv2", "onnxruntime", "pydicom", "numpy", "pydantic", "yaml")
    done = _fresh(
        f"import sys, edgedx.cli.app\nprint(sorted({{n.split('.')[0] for n in sys.modules}} & set({light!r})))"
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_no_module_of_the_package_unpickles() -> None:
    guilty = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                guilty += [
                    f"{path.name}: {name}"
                    for name in names
                    if name.split(".")[0] in {"pickle", "dill", "cloudpickle", "joblib"}
                ]
            if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "weights_only"}:
                safe = isinstance(node.value, ast.Constant) and node.value.value is (node.arg == "weights_only")
                guilty += [] if safe else [f"{path.name}: {node.arg}"]
    assert not guilty
