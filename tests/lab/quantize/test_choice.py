"""INT8 or float: measured where the device is this machine, by the device's CPU features where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import quantizing

from edgedx.core.settings.profile import load_profile
from edgedx.device.machine.hardware import Hardware, Processor
from edgedx.lab.quantize.choice import choose_variant, is_this_machine, same_kernels

AVX2 = Hardware("Linux", "6", "x86_64", Processor("AMD EPYC", 2, 4, ("avx2",)), 8.0, None, None, (), 10.0)
VNNI = replace(AVX2, cpu=Processor("Intel Xeon", 2, 4, ("avx2", "avx512f", "avx512_vnni")))
N100 = replace(AVX2, cpu=Processor("Intel(R) N100", 4, 4, ("avx2", "avx_vnni")))
ANY = {"fp32": b"", "int8-u8s8": b""}


def test_whose_kernels_and_whose_latency_this_machine_shows() -> None:
    n100, avx2, vnni = (load_profile(name) for name in ("intel-n100", "x86-avx2", "x86-vnni"))
    assert same_kernels(avx2, AVX2) and is_this_machine(avx2, AVX2)
    assert not same_kernels(n100, AVX2)  # what saturates here does not saturate there
    assert same_kernels(n100, VNNI) and not is_this_machine(n100, VNNI)  # the same sums, at another speed
    assert is_this_machine(n100, N100) and is_this_machine(vnni, VNNI)
    assert not same_kernels(load_profile("raspberry-pi-5"), AVX2)


@pytest.mark.parametrize(
    ("profile", "variant", "words"),
    [
        ("intel-n100", "int8-u8s8", "latency of .* not measured here; its CPU multiplies .*avx_vnni"),
        ("raspberry-pi-5", "int8-u8s8", "not measured here.*asimddp"),
        ("raspberry-pi-4", "fp32", "not measured here.*--device this"),
        ("orin-nano-8gb", "int8-u8s8", "latency is not measured here"),
    ],
)
def test_another_device_is_decided_by_its_features(profile: str, variant: str, words: str) -> None:
    import re

    found = choose_variant(ANY, quantizing.recipe(), load_profile(profile), AVX2)
    assert found["variant"] == variant
    assert re.search(words, found["reason"]), found["reason"]


def test_on_this_machine_the_faster_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = quantizing.backbone("test_efficientnet"), quantizing.residual()
    profile = load_profile("x86-avx2")
    for models in ({"fp32": slow, "int8-u8s8": fast}, {"fp32": fast, "int8-u8s8": slow}):
        found = choose_variant(models, quantizing.recipe(), profile, AVX2)
        times = found["int8_p50_ms"], found["fp32_p50_ms"]
        assert found["variant"] == ("int8-u8s8" if times[0] < times[1] else "fp32")
        assert ("not faster" in found["reason"]) == (found["variant"] == "fp32")
        assert f"{np.min(times):.2f} ms" in found["reason"]


def test_without_int8_float_ships() -> None:
    assert choose_variant({"fp32": b""}, quantizing.recipe(), load_profile("x86-avx2"), AVX2)["variant"] == "fp32"
    assert choose_variant({"fp32": b""}, quantizing.recipe(), load_profile("thor-t5000"), AVX2)["variant"] == "fp16"
