"""``edgedx doctor`` and ``edgedx devices``, on an app made of these two modules."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edgedx.cli.tools import devices, doctor
from edgedx.core.errors import ProfileError
from edgedx.device.machine import doctor as examiner
from edgedx.device.machine.doctor import Check, Examination, examine_here

app = typer.Typer(rich_markup_mode=None)
app.command("doctor")(doctor.doctor)
app.add_typer(devices.app, name="devices")
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})


def as_json(*arguments: str) -> Any:
    result = runner.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert result.stderr == ""
    return document


def test_doctor_prints_json_only() -> None:
    document = as_json("doctor")
    assert document["fit"] is True
    assert document["findings"][0]["name"] == "device profile"
    assert document["profile"] == as_json("devices", "match")["profile"]
    assert document["hardware"]["cpu"]["cores"] >= 1


def test_doctor_prints_a_table_of_findings() -> None:
    result = runner.invoke(app, ["doctor"], catch_exceptions=False)
    assert result.exit_code == 0
    for word in ("device profile", "ONNX Runtime", "JPEG Lossless", "extra lab"):
        assert word in result.stdout


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"]])
def test_doctor_exits_with_3_when_something_required_is_missing(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    gone = Check("ONNX Runtime", "not installed", "missing", "pip install onnxruntime", required=True)

    def examine(folder: Path) -> Examination:
        return replace(examine_here(folder), findings=(gone,))

    monkeypatch.setattr(examiner, "examine_here", examine)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 3
    assert "cannot run here: ONNX Runtime" in result.stderr
    assert "cannot run here" not in result.stdout


def test_an_optional_thing_that_is_missing_does_not_change_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    optional = Check("extra sr", "reports; missing: highdicom", "missing", "pip install 'edgedx[sr]'")

    def examine(folder: Path) -> Examination:
        return replace(examine_here(folder), findings=(optional,))

    monkeypatch.setattr(examiner, "examine_here", examine)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "pip install 'edgedx[sr]'" in result.stdout, "brackets are not markup"


def test_list_names_every_profile_and_whether_it_is_supported() -> None:
    result = runner.invoke(app, ["devices", "list"], catch_exceptions=False)
    document = as_json("devices", "list")
    for profile in document["profiles"]:
        assert profile["name"] in result.stdout
    (nano,) = [line for line in result.stdout.splitlines() if line.startswith("jetson-nano ")]
    assert nano.split()[-1] == "no"


def test_show_gives_figures_with_meaning_and_source() -> None:
    result = runner.invoke(app, ["devices", "show", "orin-nano-8gb"], catch_exceptions=False)
    assert "gpu.int8_tops_dense" in result.stdout
    assert "sparse figure in" in result.stdout
    (scheme,) = [line for line in result.stdout.splitlines() if line.startswith("quantization.scheme")]
    assert "TensorRT's" in scheme, "the source of the section"
    assert as_json("devices", "show", "orin-nano-8gb")["profile"]["gpu"]["sm"] == "8.7"


def test_show_of_an_unknown_profile_raises_the_error_that_the_app_maps() -> None:
    result = runner.invoke(app, ["devices", "show", "orin-nano-8"])
    assert isinstance(result.exception, ProfileError)


def test_match_says_why_in_one_line() -> None:
    result = runner.invoke(app, ["devices", "match"], catch_exceptions=False)
    name, colon, reason = result.stdout.strip().partition(": ")
    assert name in {profile["name"] for profile in as_json("devices", "list")["profiles"]}
    assert colon
    assert reason


RECORDED = Path(__file__).parents[2] / "device" / "fixtures"


@pytest.mark.parametrize(
    ("machine", "profile", "jetpack", "words"),
    [
        ("orin-nano-super", "orin-nano-8gb-super", "6.2", "runs on it as it is"),
        ("orin-nx-16gb-jetpack7", "orin-nx-16gb", "7.2", "runs on it as it is"),
        ("xavier-nx", "xavier-nx", "5.1", "in a container"),
        ("jetson-nano", "jetson-nano", "4.6", "does not run on it"),
        ("raspberry-pi-5", "raspberry-pi-5", None, ""),
        ("intel-n97", "intel-n97", None, ""),
    ],
)
def test_match_of_a_recorded_machine_with_its_jetpack(
    machine: str, profile: str, jetpack: str | None, words: str
) -> None:
    document = as_json("devices", "match", "--file-system", str(RECORDED / machine))
    assert (document["profile"], document["jetpack"]) == (profile, jetpack)
    shown = runner.invoke(app, ["devices", "match", "--file-system", str(RECORDED / machine)], catch_exceptions=False)
    assert shown.exit_code == 0
    assert words in shown.stdout
    assert ("warning" in shown.stderr) == (profile == "jetson-nano")


def test_show_says_how_edgedx_runs_on_each_jetpack() -> None:
    support = as_json("devices", "show", "orin-nano-8gb")["jetpack_support"]
    assert support == {"5.1": "container", "6.0": "update", "6.1": "native", "6.2": "native", "7.2": "native"}
    shown = runner.invoke(app, ["devices", "show", "agx-xavier"], catch_exceptions=False).stdout
    assert "JetPack 4.6: edgedx does not run on it" in shown
    assert "JetPack 5.1: its Python is too old" in shown


@pytest.mark.parametrize("arguments", [["doctor"], ["devices", "list"], ["devices", "show"], ["devices", "match"]])
def test_every_help_has_an_example(arguments: list[str]) -> None:
    result = runner.invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0
    assert f"Example: edgedx {' '.join(arguments)}" in result.stdout


def test_importing_the_commands_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pydantic', 'yaml', 'onnxruntime', 'pydicom', 'torch', 'cv2'}"
    code = f"import sys, edgedx.cli.tools.doctor, edgedx.cli.tools.devices; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
