"""Every shipped device profile is a test case."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from edgedx.core.settings.jetpack import jetpack_support
from edgedx.core.settings.profile import DeviceProfile, Gpu, load_profile, load_profiles
from edgedx.core.settings.shipped import shipped_folder

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
    """Whatever a profile says of a machine; not its name, nor what follows from other fields."""
    ours = {
        "name",
        "title",
        "family",
        "target",
        "arch",
        "generic",
        "supported",
        "unsupported_reason",
        "notes",
        "sources",
    }
    said: list[str] = []

    def walk(model: BaseModel, prefix: str) -> None:
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                walk(value, f"{prefix}{name}.")
            elif value not in (None, [], 0, False):
                said.append(prefix + name)

    walk(profile, "")
    assert [key for key in said if key not in ours and not profile.source_of(key)] == []


# What the profiles were made from: SM, cores, memory GB, GB/s, dense INT8 TOPS, FP16 TFLOPS, watts, DLA cores.
TABLE: dict[str, tuple[str, int, float, float, float | None, float, list[float], int]] = {
    "jetson-nano": ("5.3", 4, 4, 25.6, None, 0.47, [5, 10], 0),
    "jetson-tx2": ("6.2", 6, 8, 59.7, None, 1.33, [7.5, 15], 0),
    "xavier-nx": ("7.2", 6, 8, 59.7, 13.5, 6.8, [10, 15, 20], 2),
    "agx-xavier": ("7.2", 8, 32, 136.5, 22, 11, [10, 15, 30], 2),
    "orin-nano-4gb": ("8.7", 6, 4, 34, 10, 5, [7, 10], 0),
    "orin-nano-8gb": ("8.7", 6, 8, 68, 20, 10, [7, 15], 0),
    "orin-nano-8gb-super": ("8.7", 6, 8, 102, 33, 17, [7, 15, 25], 0),
    "orin-nx-8gb": ("8.7", 6, 8, 102, 25, 12.5, [10, 15, 20], 1),
    "orin-nx-16gb": ("8.7", 8, 16, 102, 30, 15, [10, 15, 25], 2),
    "agx-orin-32gb": ("8.7", 8, 32, 205, 53, 27, [15, 30, 40], 2),
    "agx-orin-64gb": ("8.7", 12, 64, 205, 85, 43, [15, 30, 50], 2),
    "thor-t5000": ("11.0", 14, 128, 273, 517, 258, [40, 130], 0),
}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_jetson_is_as_the_table_has_it(name: str) -> None:
    profile = load_profile(name)
    assert profile.gpu is not None
    gpu = (profile.gpu.sm, profile.gpu.int8_tops_dense, profile.gpu.fp16_tflops, profile.gpu.dla_cores)
    sm, cores, memory, bandwidth, tops, tflops, watts, dla = TABLE[name]
    assert gpu == (sm, tops, tflops, dla)
    assert (profile.cpu.cores, profile.memory_gb, profile.memory_gbps) == (cores, memory, bandwidth)
    assert profile.power_modes_w == watts


def test_every_jetson_is_in_the_table() -> None:
    assert {profile.name for profile in load_profiles() if profile.family == "jetson"} == set(TABLE)


@pytest.mark.parametrize(
    ("name", "cores", "features", "bandwidth"),
    [
        ("raspberry-pi-4", 4, [], 12.8),
        ("raspberry-pi-5", 4, ["asimddp"], 17.1),
        ("intel-n100", 4, ["avx2", "avx_vnni"], 38.4),
        ("intel-n97", 4, ["avx2", "avx_vnni"], 38.4),
    ],
)
def test_a_small_computer_is_as_the_table_has_it(name: str, cores: int, features: list[str], bandwidth: float) -> None:
    profile = load_profile(name)
    assert (profile.cpu.cores, profile.cpu.features, profile.memory_gbps) == (cores, features, bandwidth)


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


@pytest.mark.parametrize(
    ("field", "unit"),
    [("memory_gb", "2^30 bytes"), ("memory_gbps", "10^9 bytes/s"), ("power_modes_w", "watts"), ("threads", "a count")],
)
def test_every_quantity_has_its_unit(field: str, unit: str) -> None:
    assert unit in (DeviceProfile.model_fields[field].description or "")


@pytest.mark.parametrize(
    ("field", "unit"),
    [("int8_tops_dense", "10^12 operations/s"), ("fp16_tflops", "10^12 operations/s"), ("dla_cores", "a count")],
)
def test_every_quantity_of_a_gpu_has_its_unit(field: str, unit: str) -> None:
    assert unit in (Gpu.model_fields[field].description or "")
