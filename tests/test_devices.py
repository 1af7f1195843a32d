"""Every shipped device profile is a test case."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from edgedx.core.profile import DeviceProfile, load_profile, load_profiles
from edgedx.core.shipped import shipped_folder
from edgedx.device.hardware import jetpack_support

FILES = sorted(shipped_folder("devices").glob("*"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def profile(file: Path) -> DeviceProfile:
    return load_profile(str(file))


def test_there_are_profiles() -> None:
    assert {"x86-avx2", "x86-vnni", "raspberry-pi-5", "orin-nano-8gb"} <= {path.stem for path in FILES}


def test_it_is_valid_and_named_like_its_file(file: Path, profile: DeviceProfile) -> None:
    assert file.name == f"{profile.name}.yaml"
    assert load_profile(profile.name) == profile


def test_every_figure_has_a_source(profile: DeviceProfile) -> None:
    figures = {"memory_gbps": profile.memory_gbps, "power_modes_w": profile.power_modes_w, "jetpack": profile.jetpack}
    if profile.gpu is not None:
        figures |= {"gpu.int8_tops_dense": profile.gpu.int8_tops_dense, "gpu.fp16_tflops": profile.gpu.fp16_tflops}
    assert {key for key, value in figures.items() if value} <= set(profile.sources)
    assert "quantization" in profile.sources


def test_it_does_not_ask_for_more_threads_than_there_are_cores(profile: DeviceProfile) -> None:
    assert profile.threads <= (profile.cpu.cores or 0)


def test_it_is_generic_or_can_be_recognised(profile: DeviceProfile) -> None:
    phrases = [phrase for phrases in profile.recognise.model_dump().values() for phrase in phrases]
    assert bool(phrases) != profile.generic
    assert all(len(phrase) >= 3 for phrase in phrases)


def test_support_follows_the_jetpacks_that_exist(profile: DeviceProfile) -> None:
    if profile.jetpack:
        assert profile.supported == any(jetpack_support(version) != "unsupported" for version in profile.jetpack)
    else:
        assert profile.supported
        assert profile.family != "jetson"


def test_a_jetson_without_a_native_jetpack_says_so(profile: DeviceProfile) -> None:
    native = any(jetpack_support(version) == "native" for version in profile.jetpack)
    if profile.family == "jetson" and profile.supported and not native:
        assert any("container" in note for note in profile.notes)


def test_tops_are_dense(profile: DeviceProfile) -> None:
    """Marketing counts sparse operations; on tensor cores dense INT8 is twice dense FP16, never four times."""
    if profile.gpu is not None and profile.gpu.int8_tops_dense and profile.gpu.fp16_tflops:
        assert profile.gpu.int8_tops_dense / profile.gpu.fp16_tflops == pytest.approx(2.0, rel=0.03)


def test_the_jetsons_of_one_soc_grow_with_their_size() -> None:
    names = ("orin-nano-4gb", "orin-nano-8gb", "orin-nx-8gb", "orin-nx-16gb", "agx-orin-32gb", "agx-orin-64gb")
    gpus = [load_profile(name).gpu for name in names]
    tops = [gpu.int8_tops_dense for gpu in gpus if gpu is not None and gpu.int8_tops_dense is not None]
    assert len(tops) == len(names)
    assert tops == sorted(tops)


def test_titles_and_names_are_unique() -> None:
    profiles = load_profiles()
    assert len({profile.title for profile in profiles}) == len(profiles) == len(FILES)


def test_every_field_of_a_profile_says_what_it_means() -> None:
    undescribed: list[str] = []

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, info in model.model_fields.items():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                walk(kind, f"{prefix}{name}.")
            elif not info.description:
                undescribed.append(prefix + name)

    walk(DeviceProfile, "")
    assert undescribed == []
