"""Device profiles: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgedx.core.errors import InputOutputError, ProfileError
from edgedx.core.settings import shipped
from edgedx.core.settings.profile import (
    DeviceProfile,
    Quantization,
    list_profiles,
    load_profile,
    parse_profile,
    quantization_for,
)


def content(name: str = "intel-n100") -> dict[str, Any]:
    return yaml.safe_load((shipped.shipped_folder("devices") / f"{name}.yaml").read_text())


def refused(raw: Any) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        parse_profile(raw, "clinic.yaml")
    assert caught.value.next_step
    assert caught.value.exit_code == 2
    return caught.value


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    raw = content()
    raw["cpu"]["featurs"] = ["avx2"]
    assert "cpu.featurs: unknown key; did you mean 'cpu.features'?" in refused(raw).message


def test_s8s8_on_x86_without_vnni_is_refused_and_the_trap_explained() -> None:
    raw = content("x86-avx2")
    raw["quantization"] = {"scheme": "s8s8", "reduce_range": False}
    message = refused(raw).message
    assert "without VNNI" in message
    assert "saturate" in message
    assert "use scheme: u8s8 with reduce_range: measure" in message


def test_u8s8_without_vnni_must_measure_the_reduced_range() -> None:
    raw = content("x86-avx2")
    raw["quantization"]["reduce_range"] = False
    assert "use scheme: u8s8 with reduce_range: measure" in refused(raw).message


@pytest.mark.parametrize(
    ("name", "scheme", "word"),
    [
        ("x86-vnni", "s8s8", "VNNI"),
        ("raspberry-pi-5", "u8s8", "ARM"),
        ("orin-nano-8gb", "s8s8", "TensorRT"),
        ("jetson-nano", "trt", "no INT8"),
    ],
)
def test_a_scheme_that_the_kernels_do_not_have_is_refused(name: str, scheme: str, word: str) -> None:
    raw = content(name)
    raw["quantization"]["scheme"] = scheme
    message = refused(raw).message
    assert word in message
    assert "use scheme:" in message


@pytest.mark.parametrize("feature", ["avx_vnni", "avx512_vnni", "amx_int8"])
def test_any_kind_of_vnni_lifts_the_range_reduction(feature: str) -> None:
    assert quantization_for("cpu", "x86_64", ["avx2", feature]) == Quantization(scheme="u8s8", reduce_range=False)


def test_avx512_alone_still_saturates() -> None:
    assert quantization_for("cpu", "x86_64", ["avx2", "avx512f"]).reduce_range == "measure"


@pytest.mark.parametrize(("sm", "int8"), [("5.3", False), ("6.1", True), ("6.2", False), ("7.2", True), ("11.0", True)])
def test_int8_follows_the_compute_capability(sm: str, int8: bool) -> None:
    raw = content("orin-nano-8gb")
    raw["gpu"]["sm"] = sm
    raw["quantization"]["scheme"] = "trt" if int8 else "float"
    assert parse_profile(raw).gpu is not None
    raw["quantization"]["scheme"] = "float" if int8 else "trt"
    refused(raw)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"target": "jetson"}, "family x86 has target: cpu"),
        ({"supported": False}, "unsupported_reason"),
        ({"unsupported_reason": "because"}, "unsupported_reason"),
        ({"jetpack": ["6.2"]}, "jetpack"),
        ({"gpu": {"name": "x", "sm": "8.6"}}, "gpu"),
        ({"sources": {"cpu.coers": "x"}}, "'cpu.coers' is not a field"),
        ({"threads": -1}, "threads"),
        ({"threads": 5}, "5 is more than the 4 cores"),
        ({"power_modes_w": [12, 6]}, "rising order"),
        ({"power_modes_w": [-6]}, "in watts"),
        ({"memory_gb": 0}, "memory_gb"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], word: str) -> None:
    assert word in refused({**content(), **change}).message


def test_a_jetpack_that_does_not_exist_is_refused() -> None:
    assert "jetpack: '6.9' is not one of" in refused({**content("orin-nano-8gb"), "jetpack": ["6.9"]}).message


def test_a_family_of_cards_ends_where_it_begins_or_above() -> None:
    raw = content("rtx-pc")
    raw["gpu"]["sm_max"] = "7.0"
    assert "gpu.sm_max: 7.0 is below gpu.sm 7.5" in refused(raw).message


def test_a_source_of_a_section_stands_for_its_fields() -> None:
    profile = parse_profile({**content(), "sources": {"cpu": "the section", "cpu.cores": "the field"}})
    assert profile.source_of("cpu.cores") == "the field"
    assert profile.source_of("cpu.model") == "the section"
    assert profile.source_of("memory_gbps") == ""


def test_a_jetson_without_a_gpu_is_refused() -> None:
    raw = content("orin-nano-8gb")
    del raw["gpu"]
    raw["sources"] = {}
    assert "gpu: required for target jetson" in refused(raw).message


def test_a_profile_has_no_field_for_a_latency() -> None:
    names = " ".join(DeviceProfile.model_json_schema()["properties"]) + str(DeviceProfile.model_json_schema()["$defs"])
    assert "latency" not in names
    assert "_ms" not in names


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean 'orin-nano-8gb'") as caught:
        load_profile("orin-nano-8")
    assert "edgedx devices list" in (caught.value.next_step or "")


def test_a_profile_of_ones_own_is_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(yaml.safe_dump({**content(), "name": "ours"}))
    assert load_profile(str(path)).name == "ours"


def test_a_path_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"no such file"):
        load_profile(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_a_file_that_is_no_mapping_is_a_profile_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"bad\.yaml"):
        load_profile(str(path))


def test_an_installed_wheel_is_preferred_to_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "edgedx"
    checkout = tmp_path / "devices"
    package.mkdir()
    monkeypatch.setattr(shipped, "_PACKAGE", package)
    assert shipped.shipped_folder("devices") == checkout
    wheel = package / "_data" / "devices"
    wheel.mkdir(parents=True)
    assert shipped.shipped_folder("devices") == wheel
    (wheel / "a.yaml").touch()
    assert list_profiles() == ["a"]
