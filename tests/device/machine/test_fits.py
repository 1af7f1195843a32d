"""Which machine a bundle fits: recorded machines against what a manifest asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bundles import manifest

from edgedx.core.errors import ProfileError
from edgedx.core.settings.profile import list_profiles, load_profile
from edgedx.device.machine.fits import check_device
from edgedx.device.machine.hardware import Hardware, read_hardware

FIXTURES = Path(__file__).parents[1] / "fixtures"


def _machine(name: str, smi: str | None = None) -> Hardware:
    return read_hardware(FIXTURES / name, nvidia_smi=lambda: smi)


def _check(profile: str, target: str, machine: Hardware) -> None:
    known = load_profile(profile) if profile in list_profiles() else None
    check_device(manifest(profile=profile, target=target), machine, known)


@pytest.mark.parametrize(
    ("profile", "target", "machine", "says"),
    [
        ("orin-nano-8gb", "jetson", "epyc-avx2", "needs an aarch64 processor"),
        ("of our own", "jetson", "epyc-avx2", "needs a Jetson"),
        ("orin-nano-8gb", "jetson", "raspberry-pi-5", "needs a Jetson"),
        ("x86-avx2", "cpu", "raspberry-pi-5", "needs an x86_64 processor"),
        ("arm64", "cpu", "intel-n100", "needs an aarch64 processor"),
        ("rtx-pc", "rtx", "epyc-avx2", "needs an NVIDIA GPU"),
    ],
)
def test_a_bundle_for_another_machine_is_refused(profile: str, target: str, machine: str, says: str) -> None:
    with pytest.raises(ProfileError, match=says) as caught:
        _check(profile, target, _machine(machine))
    assert profile in str(caught.value) and caught.value.next_step


@pytest.mark.parametrize(
    ("profile", "target", "machine", "smi"),
    [
        ("orin-nano-8gb", "jetson", "orin-nano-super", None),
        ("intel-n100", "cpu", "epyc-avx2", None),  # whether its INT8 is right there is for golden samples to say
        ("raspberry-pi-4", "cpu", "raspberry-pi-5", None),
        ("arm64", "cpu", "orin-nano-super", None),
        ("rtx-pc", "rtx", "epyc-avx2", "NVIDIA GeForce RTX 4060, 8.9, 8188, 570.1"),
        ("of our own", "cpu", "raspberry-pi-5", None),
    ],
)
def test_a_bundle_for_this_kind_of_machine_is_taken(profile: str, target: str, machine: str, smi: str | None) -> None:
    _check(profile, target, _machine(machine, smi))


def test_an_old_gpu_is_not_one_for_rtx() -> None:
    old = _machine("epyc-avx2", "NVIDIA GeForce GTX 1080, 6.1, 8192, 570.1")
    with pytest.raises(ProfileError, match="7.5 or higher"):
        _check("rtx-pc", "rtx", old)
    unknown = replace(old, gpus=(replace(old.gpus[0], sm=None),))  # an old driver does not say
    _check("rtx-pc", "rtx", unknown)
