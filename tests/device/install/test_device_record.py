"""The file that an owner of a device sends back: real figures where something ran, "not measured" where not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from bundles import golden, model, write_tiny
from networks import tensorrt_bundle

from edgedx.core.errors import UsageError
from edgedx.device.install.device_record import NOT_MEASURED, is_bundle, record_device, write_device_record
from edgedx.device.machine.conditions import parse_nvpmodel, read_conditions

NVPMODEL = "NV Fan Mode:quiet\nNV Power Mode: MAXN_SUPER\n2\n"


def machine(root: Path) -> Path:
    """A Jetson's files as its kernel shows them, one thermal zone of it asleep."""
    files = {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1728000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1728000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000",
        "sys/class/devfreq/17000000.gpu/max_freq": "1020000000",
        "sys/class/devfreq/15340000.vic/cur_freq": "115200000",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "51406",
        "sys/class/thermal/thermal_zone1/type": "cv0-thermal",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_conditions_of_a_jetson(tmp_path: Path) -> None:
    found = read_conditions(machine(tmp_path), nvpmodel=lambda: NVPMODEL)
    assert found == {
        "power_mode": "MAXN_SUPER",
        "cpu_mhz": {"cpu0": {"now": 1728.0, "max": 1728.0}},
        "gpu_mhz": {"17000000.gpu": {"now": 1020.0, "max": 1020.0}},
        "temperature_c": {"cpu-thermal": 51.406},
        "governor": "schedutil",
    }


def test_a_machine_that_says_nothing_is_recorded_as_that(tmp_path: Path) -> None:
    found = read_conditions(tmp_path)
    assert (found["power_mode"], found["cpu_mhz"], found["temperature_c"]) == (None, {}, {})
    assert parse_nvpmodel("no such thing") is None


def test_what_ran_has_figures_and_what_could_not_has_a_reason(tmp_path: Path) -> None:
    bundle = tensorrt_bundle(tmp_path / "t.edgedx")
    record = record_device([str(bundle.path)], seconds=0.05)
    rows = {row["variant"]: row for row in record["rows"]}
    assert rows["fp32"]["latency"]["provider"] == "CPUExecutionProvider"
    assert rows["fp32"]["latency"]["p50_ms"] > 0
    assert rows["fp32"]["golden_difference"] <= 1e-4
    assert rows["int8-trt"]["latency"] == NOT_MEASURED
    assert "GPU" in rows["int8-trt"]["why"] or "libcuda" in rows["int8-trt"]["why"]
    write_device_record(tmp_path / "record.json", record)
    text = (tmp_path / "record.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(record))
    assert socket.gethostname() not in text and str(tmp_path) not in text


def test_a_model_that_computes_other_values_here_is_not_measured(tmp_path: Path) -> None:
    write_tiny(tmp_path / "shifted.edgedx", samples=golden(model(), shift=0.5))
    (row,) = record_device([str(tmp_path / "shifted.edgedx")], seconds=0.05)["rows"]
    assert row["latency"] == NOT_MEASURED
    assert "computes other values" in row["why"]
    assert str(tmp_path) not in row["why"]


def test_only_bundles_are_recorded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a bundle"):
        record_device(["resnet50"])
    assert not is_bundle(str(tmp_path))
