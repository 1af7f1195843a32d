"""INT8 or float: INT8 only where it is measured faster on the device's CPU, or its kernels promise it."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedx.core.settings.profile import VNNI, DeviceProfile, load_profiles, quantization_for
from edgedx.core.settings.recipe import Recipe
from edgedx.core.timing import interleave
from edgedx.device.machine.hardware import Hardware, read_hardware
from edgedx.device.machine.match import match_profile
from edgedx.device.runtime.run_onnx import OnnxRunner

_EIGHT_BIT_PRODUCTS = VNNI | {"asimddp", "i8mm"}  # CPU features that multiply 8-bit numbers faster than floats


def same_kernels(profile: DeviceProfile, hardware: Hardware) -> bool:
    """Whether this machine's CPU computes INT8 models with the kernels that the device will use."""
    if profile.target != "cpu" or profile.arch != hardware.arch:
        return False
    return profile.quantization == quantization_for("cpu", hardware.arch, hardware.cpu.features)


def is_this_machine(profile: DeviceProfile, hardware: Hardware) -> bool:
    """Whether latencies measured here are the device's: its kernels, and its processor where the profile names one."""
    if not same_kernels(profile, hardware):
        return False
    return profile.generic or match_profile(hardware, load_profiles())[0].name == profile.name


def choose_variant(
    models: dict[str, bytes], recipe: Recipe, profile: DeviceProfile, hardware: Hardware | None = None
) -> dict[str, Any]:
    """The variant that should ship, and why.

    INT8 is not always faster: depthwise and squeeze-excite blocks can lose more in conversions than they win.

    Parameters
    ----------
    models : dict of str to bytes
        By variant name: fp32, fp16 and int8-SCHEME, as far as they were made.
    hardware : Hardware, optional
        This machine, unless given.
    """
    int8 = next((name for name in models if name.startswith("int8")), None)
    if int8 is None:
        name = "fp32" if profile.target == "cpu" else "fp16"
        return {"variant": name, "reason": "no INT8 model was made"}
    if profile.target != "cpu":
        return {"variant": int8, "reason": f"made for {profile.title}; its latency is not measured here"}
    if not is_this_machine(profile, hardware or read_hardware()):
        return _by_policy(int8, profile)
    image = np.zeros((1, *recipe.preprocess.input_shape), np.float32)
    with OnnxRunner(models["fp32"], threads=1) as plain, OnnxRunner(models[int8], threads=1) as quantized:
        times = interleave(
            {"fp32": lambda: plain.infer(image), int8: lambda: quantized.infer(image)},
            min_seconds=min(2.0, recipe.bench.seconds),
            repeats=100,
            threads=1,
        )
    fast, slow = times[int8].p50_ms, times["fp32"].p50_ms
    name = int8 if fast < slow else "fp32"
    verb = "faster" if fast < slow else "not faster"
    reason = f"INT8 is {verb} on this CPU: {fast:.2f} ms against {slow:.2f} ms in FP32 (P50, one thread)"
    return {"variant": name, "reason": reason, "int8_p50_ms": fast, "fp32_p50_ms": slow}


def _by_policy(int8: str, profile: DeviceProfile) -> dict[str, Any]:
    features = sorted(_EIGHT_BIT_PRODUCTS & set(profile.cpu.features))
    where = f"latency of {profile.title} not measured here"
    if features:
        return {
            "variant": int8,
            "reason": f"{where}; its CPU multiplies 8-bit natively ({', '.join(features)})",
        }
    return {
        "variant": "fp32",
        "reason": f"{where}, and no feature in its profile makes 8-bit products faster; run `edgedx compress` on it "
        "(--device this) to measure",
    }
