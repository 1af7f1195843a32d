"""Imports go one way, by zone and by room, without a circle; and the device half runs without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "edgedx"
ZONES = ["core", "dicom", "device", "lab", "api", "cli"]
ROOMS = [
    *("core", "core.messages", "core.stats", "core.settings", "core.bundle"),
    *("dicom.decoding", "dicom.reading", "dicom.writing", "dicom"),
    *("device.machine", "device.decode", "device.runtime", "device.clinic", "device.install"),
    *("device.threshold", "device.monitor", "device.scanner", "device.pacs", "device.operation", "device.export"),
    *("device.fleet", "device.page.door", "device.page.reading", "device.page"),
    *("lab.launch", "lab.run", "lab.data.layouts", "lab.data.reading", "lab.data", "lab.data.start"),
    *("lab.network", "lab.feed", "lab.train", "lab.tune", "lab.quantize", "lab.judge", "lab.compress"),
    *("lab.ship", "lab.remote", "lab.evidence", "lab.evidence.compare", "lab.evidence.robustness"),
    *("lab.evidence.explain", "lab.evidence.report", "lab.update", "lab.fleet", "lab.archive", "lab.federated", "lab"),
    "api",
    *("cli", "cli.fleet", "cli.device", "cli.scan", "cli.clinic", "cli.evidence", "cli.flow", "cli.tools"),
]
"""From the ground up: a room imports only rooms before it. A room is a folder, without the folders in it."""
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


def _path(module: str) -> Path:
    path = PACKAGE.parent / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _room(module: str) -> str | None:
    """Of ``edgedx.lab.run.stage`` it is ``lab.run``; what belongs to the package itself has none."""
    parts = module.split(".")[1:] if _path(module).name == "__init__.py" else module.split(".")[1:-1]
    return ".".join(parts) or None


def _imports(module: str) -> set[str]:
    """Modules of edgedx that this one imports anywhere in its code."""
    found = set()
    package = module if _path(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(_path(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            whole = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            named = {f"{whole}.{alias.name}" for alias in node.names}
            found |= {name for name in named if name in MODULES} or {whole}
    return {name for name in found if name in MODULES and name != module}


MODULES = sorted(
    ".".join(("edgedx", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
IMPORTS = {module: _imports(module) for module in MODULES}
DEVICE_HALF = [name for name in MODULES if ".lab" not in name and not name.endswith("__main__")]


def test_the_order_names_every_room_once() -> None:
    filled = {_room(module) for module in MODULES if _path(module).name != "__init__.py"} - {None}
    assert sorted(ROOMS) == sorted(filled)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_rooms_below(room: str) -> None:
    above = {
        f"{module} -> {name}"
        for module in MODULES
        if _room(module) == room
        for name in IMPORTS[module]
        if (other := _room(name)) is not None and ROOMS.index(other) > ROOMS.index(room)
    }
    assert not above


def test_zones_are_floors_of_whole_rooms() -> None:
    floors = [ZONES.index(room.split(".")[0]) for room in ROOMS]
    assert floors == sorted(floors)


def test_no_module_imports_itself_by_way_of_others() -> None:
    below: dict[str, set[str]] = {}

    def reach(module: str, path: tuple[str, ...]) -> set[str]:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in below:
            below[module] = IMPORTS[module].union(*(reach(name, (*path, module)) for name in IMPORTS[module]))
        return below[module]

    for module in MODULES:
        reach(module, ())


def test_rooms_and_files_are_of_a_size_that_one_can_hold_in_the_head() -> None:
    files = {module: len(_path(module).read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: lines for name, lines in files.items() if lines > 400} == {}
    rooms = [_room(module) for module in MODULES if _path(module).name != "__init__.py"]
    assert {room: rooms.count(room) for room in ROOMS if rooms.count(room) > 16} == {}


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
    commands = [name for name in MODULES if name.startswith("edgedx.cli")]
    light = (*HEAVY, "cv2", "onnxruntime", "pydicom", "numpy", "pydantic", "yaml")
    done = _fresh(
        f"import sys, importlib\nfor name in {commands!r}: importlib.import_module(name)\n"
        f"print(sorted({{n.split('.')[0] for n in sys.modules}} & set({light!r})))"
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
