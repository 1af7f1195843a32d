"""`edgedx engine` and `edgedx bench --device-record` on a machine without a GPU, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import write_tiny  # noqa: E402
from inprocess import edgedx
from networks import KEY, PLAN, REPORT, tensorrt_bundle, without_gpu  # noqa: E402

from edgedx.device.runtime.engine_cache import EngineCache  # noqa: E402


@without_gpu
def test_building_without_a_gpu_exits_with_3_and_says_why(tmp_path: Path) -> None:
    bundle = tensorrt_bundle(tmp_path / "t.edgedx")
    done = edgedx(tmp_path, "engine", "build", str(bundle.path))
    assert done.returncode == 3
    assert "driver" in done.stderr and "next:" in done.stderr


def test_building_a_cpu_variant_is_a_wrong_call(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "cpu.edgedx")
    done = edgedx(tmp_path, "engine", "build", str(bundle.path))
    assert done.returncode == 2
    assert "runs on the CPU" in done.stderr


def test_engines_are_listed(tmp_path: Path) -> None:
    assert "no engine" in edgedx(tmp_path, "engine", "list", str(tmp_path)).stderr
    EngineCache(tmp_path / "engines").store(KEY, PLAN, REPORT)
    (tmp_path / "engines" / "broken.engine").write_bytes(b"x")
    assert "int8, tensorrt 10.3.0, Orin" in edgedx(tmp_path, "engine", "list", str(tmp_path)).stdout
    rows = json.loads(edgedx(tmp_path, "engine", "list", str(tmp_path), "--json").stdout)["engines"]
    assert {row["key"] and row["key"]["gpu"] for row in rows} == {"Orin", None}


@without_gpu
def test_a_device_without_torch_records_its_figures(tmp_path: Path) -> None:
    bundle = tensorrt_bundle(tmp_path / "t.edgedx")
    code = (
        "import sys\n"
        "for name in ('torch', 'timm', 'onnx', 'sklearn', 'matplotlib'): sys.modules[name] = None\n"
        "from edgedx.cli.app import main\n"
        "sys.argv = ['edgedx', 'bench', sys.argv[1], '--seconds', '0.1', '--device-record', sys.argv[2]]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.path), str(tmp_path / "record.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "int8-trt  not measured" in done.stdout
    record = json.loads((tmp_path / "record.json").read_text())
    assert {row["variant"] for row in record["rows"]} == {"fp32", "int8-trt"}
    assert set(record["conditions"]) == {"before", "after"}


@pytest.mark.parametrize(
    "command", [["engine", "build", "nowhere.edgedx"], ["bench", "nowhere.edgedx", "--device-record", "r"]]
)
def test_what_is_not_there_is_named(tmp_path: Path, command: list[str]) -> None:
    done = edgedx(tmp_path, *command)
    assert done.returncode in {2, 5}
    assert "nowhere.edgedx" in done.stderr
