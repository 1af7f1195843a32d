"""Facts read from recorded machines, and the profile chosen from them.

The recordings were put together from what owners of such machines print in public; none of them was at hand.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edgedx.core.errors import ProfileError
from edgedx.core.settings.jetpack import jetpack_of, jetpack_support
from edgedx.core.settings.profile import DeviceProfile, load_profiles
from edgedx.device.machine import hardware as hardware_module
from edgedx.device.machine.hardware import (
    Board,
    Hardware,
    Jetson,
    NvidiaGpu,
    Processor,
    parse_cpuinfo,
    parse_nvidia_smi,
    read_hardware,
    run_nvidia_smi,
)
from edgedx.device.machine.match import match_profile

FIXTURES = Path(__file__).parents[1] / "fixtures"
RTX = "NVIDIA GeForce RTX 4060, 8.9, 8188, 550.120\n"


@pytest.fixture(scope="module")
def profiles() -> list[DeviceProfile]:
    return load_profiles()


def machine(name: str) -> Hardware:
    return read_hardware(FIXTURES / name)


@pytest.mark.parametrize(
    ("name", "arch", "model", "cores", "features"),
    [
        ("epyc-avx2", "x86_64", "AMD EPYC", 2, ("avx2",)),
        ("intel-n100", "x86_64", "Intel(R) N100", 4, ("avx2", "avx_vnni")),
        ("raspberry-pi-4", "aarch64", "Cortex-A72", 4, ()),
        ("raspberry-pi-5", "aarch64", "Cortex-A76", 4, ("asimddp",)),
        ("orin-nano-super", "aarch64", "Cortex-A78AE", 6, ("asimddp",)),
    ],
)
def test_the_processor_is_read(name: str, arch: str, model: str, cores: int, features: tuple[str, ...]) -> None:
    facts = machine(name)
    assert facts.arch == arch
    assert facts.cpu == Processor(model, cores, cores, features)


def test_hyperthreads_are_not_cores() -> None:
    blocks = [f"processor\t: {n}\nphysical id\t: 0\ncore id\t\t: {n % 2}\nflags\t: avx2\n" for n in range(4)]
    cpu = parse_cpuinfo("\n".join(blocks))
    assert (cpu.cores, cpu.logical_cores) == (2, 4)


def test_a_feature_of_some_cores_only_does_not_count() -> None:
    text = "processor : 0\nFeatures : asimddp i8mm\n\nprocessor : 1\nFeatures : asimddp\n"
    assert parse_cpuinfo(text).features == ("asimddp",)


def test_two_kinds_of_core_are_both_named() -> None:
    arm = "processor : {}\nCPU implementer : {}\nCPU part : {}\n"
    text = "\n".join([arm.format(0, "0x41", "0xd07"), arm.format(1, "0x4e", "0x003")])
    assert parse_cpuinfo(text).model == "Cortex-A57 + Denver 2"


def test_a_machine_without_proc_still_has_facts(tmp_path: Path) -> None:
    facts = read_hardware(tmp_path)
    assert facts.memory_gb is None
    assert facts.board is facts.jetson is None
    assert facts.cpu.cores == 1
    assert facts.cpu.model


def test_a_jetson_is_read_with_module_release_and_power_modes() -> None:
    facts = machine("orin-nano-super")
    assert facts.board == Board(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        ("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
    )
    assert facts.jetson == Jetson("36.4.3", "6.2", ("15W", "25W", "MAXN_SUPER", "7W"))
    assert facts.os == "Ubuntu 22.04.5 LTS"
    assert facts.kernel == "5.15.148-tegra"
    assert facts.memory_gb == pytest.approx(7.44)


def test_a_container_on_a_jetson_is_a_jetson_of_unknown_release(tmp_path: Path) -> None:
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3767-0005\0nvidia,tegra234\0")
    assert read_hardware(tmp_path).jetson == Jetson(None, None, ())


def test_under_emulation_the_processor_below_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """qemu-user runs another instruction set, while /proc/cpuinfo stays that of the machine below."""
    here = read_hardware()
    other = "aarch64" if here.arch == "x86_64" else "x86_64"
    monkeypatch.setattr(hardware_module.platform, "machine", lambda: other)
    facts = read_hardware()
    assert facts.arch == other
    assert facts.cpu.features == ()
    assert facts.cpu.model.startswith(f"{other} emulated on ")


def test_a_raspberry_pi_is_no_jetson() -> None:
    assert machine("raspberry-pi-5").jetson is None


def test_a_recorded_machine_does_not_ask_this_ones_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware_module, "run_nvidia_smi", lambda: RTX)
    assert machine("intel-n100").gpus == ()


def test_the_label_names_the_machine_and_not_its_owner() -> None:
    label = machine("orin-nano-super").label()
    assert "Orin Nano" in label
    assert "Cortex-A78AE, 6 cores" in label


def test_free_space_is_that_of_the_folder_even_before_it_exists(tmp_path: Path) -> None:
    now = read_hardware(FIXTURES / "epyc-avx2", folder=tmp_path).disk_free_gb
    later = read_hardware(FIXTURES / "epyc-avx2", folder=tmp_path / "to" / "be" / "made").disk_free_gb
    assert now is not None
    assert later == pytest.approx(now, abs=1.0)


def test_nvidia_smi_lines_become_gpus() -> None:
    text = RTX + "Orin (nvgpu), [N/A], [N/A], 540.4.0\nsomething else\n"
    assert parse_nvidia_smi(text) == (
        NvidiaGpu("NVIDIA GeForce RTX 4060", "8.9", 8.0, "550.120"),
        NvidiaGpu("Orin (nvgpu)", None, None, "540.4.0"),
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo 'RTX, 8.9, 1024, 1'", "RTX, 8.9, 1024, 1\n"), ("exit 9", None), ("exec sleep 30", None)],
)
def test_an_nvidia_smi_that_works_fails_or_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: str | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(hardware_module, "_SMI_TIMEOUT_S", 0.2)
    assert run_nvidia_smi() == expected


def test_no_nvidia_smi_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_nvidia_smi() is None


@pytest.mark.parametrize(
    ("l4t", "jetpack", "support"),
    [
        ("28.2.1", None, None),
        ("32.7.3", "4.6", "unsupported"),
        ("35.1.0", "5.0", "container"),
        ("35.4.1", "5.1", "container"),
        ("36.3.0", "6.0", "update"),
        ("36.4.0", "6.1", "native"),
        ("36.4.7", "6.2", "native"),
        ("38.2.1", "7.0", "native"),
        ("38.4.0", "7.1", "native"),
        ("39.2.1", "7.2", "native"),
        ("40.1", "7.2", "native"),
    ],
)
def test_l4t_tells_the_jetpack_and_whether_edgedx_runs_there(
    l4t: str, jetpack: str | None, support: str | None
) -> None:
    assert jetpack_of(l4t) == jetpack
    assert jetpack is None or jetpack_support(jetpack) == support


@pytest.mark.parametrize(
    ("name", "expected", "why"),
    [
        ("epyc-avx2", "x86-avx2", "generic"),
        ("intel-n100", "intel-n100", "processor"),
        ("intel-n97", "intel-n97", "processor"),
        ("raspberry-pi-4", "raspberry-pi-4", "board"),
        ("raspberry-pi-5", "raspberry-pi-5", "board"),
        ("orin-nano-super", "orin-nano-8gb-super", "module"),
        ("orin-nano-jetpack5", "orin-nano-8gb", "module"),
        ("agx-orin-64gb", "agx-orin-64gb", "module"),
        ("orin-nx-16gb-jetpack7", "orin-nx-16gb", "module"),
        ("agx-thor", "thor-t5000", "module"),
        ("xavier-nx", "xavier-nx", "module"),
        ("jetson-nano", "jetson-nano", "module"),
    ],
)
def test_each_recorded_machine_has_its_profile(
    name: str, expected: str, why: str, profiles: list[DeviceProfile]
) -> None:
    profile, reason = match_profile(machine(name), profiles)
    assert profile.name == expected
    assert why in reason


def test_the_module_number_decides_and_memory_settles_what_it_leaves_open(profiles: list[DeviceProfile]) -> None:
    facts = machine("orin-nano-jetpack5")
    small = replace(facts, board=Board("carrier of another maker", ("nvidia,p3767-0004",)), memory_gb=3.6)
    assert match_profile(small, profiles)[0].name == "orin-nano-4gb"
    # JetPack 7.2 lists every module of the family: name and memory decide.
    family = tuple(f"nvidia,p3767-000{number}" for number in range(6))
    every = replace(facts, board=Board("NVIDIA Jetson Orin NX", family), memory_gb=15.3)
    assert match_profile(every, profiles)[0].name == "orin-nx-16gb"


def test_a_container_without_nvpmodel_knows_super_by_the_board(profiles: list[DeviceProfile]) -> None:
    facts = replace(machine("orin-nano-super"), jetson=Jetson(None, None, ()))
    assert match_profile(facts, profiles)[0].name == "orin-nano-8gb-super"


def test_a_board_of_unknown_module_goes_by_its_name(profiles: list[DeviceProfile]) -> None:
    facts = replace(machine("orin-nano-jetpack5"), board=Board("NVIDIA Jetson AGX Orin Developer Kit", ()))
    assert match_profile(replace(facts, memory_gb=61.0), profiles)[0].name == "agx-orin-64gb"
    assert match_profile(replace(facts, memory_gb=29.8), profiles)[0].name == "agx-orin-32gb"


def test_a_jetson_nano_is_matched_and_is_not_supported(profiles: list[DeviceProfile]) -> None:
    board = Board("NVIDIA Jetson Nano Developer Kit", ("nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,tegra210"))
    profile, _ = match_profile(replace(machine("raspberry-pi-4"), board=board, memory_gb=3.9), profiles)
    assert profile.name == "jetson-nano"
    assert not profile.supported


def test_a_smaller_board_of_the_same_name_is_matched_with_a_remark(profiles: list[DeviceProfile]) -> None:
    profile, reason = match_profile(replace(machine("raspberry-pi-5"), memory_gb=3.9), profiles)
    assert profile.name == "raspberry-pi-5"
    assert "3.9 GB of memory, the profile 16" in reason


def test_an_rtx_card_decides_before_the_processor(profiles: list[DeviceProfile]) -> None:
    facts = read_hardware(FIXTURES / "intel-n100", nvidia_smi=lambda: RTX)
    profile, reason = match_profile(facts, profiles)
    assert profile.name == "rtx-pc"
    assert "RTX 4060" in reason


def test_a_data_centre_gpu_is_no_rtx_card(profiles: list[DeviceProfile]) -> None:
    facts = read_hardware(FIXTURES / "epyc-avx2", nvidia_smi=lambda: "NVIDIA H100 80GB HBM3, 9.0, 81559, 550.1\n")
    assert match_profile(facts, profiles)[0].name == "x86-avx2"


@pytest.mark.parametrize(
    ("arch", "features", "expected"),
    [
        ("x86_64", ("avx2", "avx512f"), "x86-avx2"),
        ("x86_64", ("avx2", "avx512f", "avx512_vnni", "amx_int8"), "x86-vnni"),
        ("x86_64", (), "x86-avx2"),
        ("aarch64", ("asimddp", "i8mm"), "arm64"),
    ],
)
def test_an_unknown_machine_has_the_generic_profile_of_its_kernels(
    arch: str, features: tuple[str, ...], expected: str, profiles: list[DeviceProfile]
) -> None:
    cpu = Processor("Some N1000 processor", 4, 8, features)
    facts = replace(machine("epyc-avx2"), arch=arch, cpu=cpu)
    assert match_profile(facts, profiles)[0].name == expected


def test_an_unknown_instruction_set_has_no_profile(profiles: list[DeviceProfile]) -> None:
    facts = replace(machine("epyc-avx2"), arch="riscv64", cpu=Processor("x", 4, 4, ()))
    with pytest.raises(ProfileError, match="no device profile fits riscv64") as caught:
        match_profile(facts, profiles)
    assert caught.value.next_step
