"""A machine that computes other values than the workstation did must not serve."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from bundles import golden, manifest, model, write_tiny

from edgedx.core.bundle.manifest import Bundle, Golden
from edgedx.core.errors import BundleError, GateRefused
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.run_onnx import OnnxRunner


def _check(bundle: Bundle, variant: str | None = None) -> float:
    with OnnxRunner(bundle.model(), threads=1) as runner:
        return check_golden(bundle, runner, variant)


def test_the_machine_that_made_the_samples_reproduces_them(tmp_path: Path) -> None:
    assert _check(write_tiny(tmp_path / "a.edgedx")) <= 1e-6


def test_a_difference_within_the_tolerance_is_measured_and_allowed(tmp_path: Path) -> None:
    samples = golden(model(), shift=0.25)
    loose = Golden(file="golden.npz", count=2, tolerance={"fp32": 0.3})
    assert _check(write_tiny(tmp_path / "a.edgedx", samples=samples, golden=loose)) == pytest.approx(0.25, abs=1e-5)


def test_a_difference_over_the_tolerance_is_refused_with_both_figures(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "a.edgedx", samples=golden(model(), shift=0.25))
    with pytest.raises(GateRefused, match=r"0\.25.*0\.0001") as caught:
        _check(bundle)
    assert caught.value.next_step


def test_another_network_than_the_one_judged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateRefused):
        _check(write_tiny(tmp_path / "a.edgedx", network=model(1.5), samples=golden(model())))


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(tmp_path: Path, weight: float) -> None:
    with pytest.raises(GateRefused):
        _check(write_tiny(tmp_path / "a.edgedx", network=model(weight), samples=golden(model())))


def test_samples_that_are_no_numbers_prove_nothing(tmp_path: Path) -> None:
    with pytest.raises(GateRefused):
        _check(write_tiny(tmp_path / "a.edgedx", network=model(float("nan"))))


def test_samples_of_another_count_of_classes_are_refused(tmp_path: Path) -> None:
    with np.load(io.BytesIO(golden(model()))) as archive:
        arrays = dict(archive)
    stream = io.BytesIO()
    np.savez(stream, **{**arrays, "logits_fp32": np.zeros((2, 3), np.float32)})
    with pytest.raises(GateRefused):
        _check(write_tiny(tmp_path / "a.edgedx", samples=stream.getvalue()))


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, image_0=np.array([{"a": 1}], object), image_1=np.zeros(1), logits_fp32=np.zeros((2, 2)))
    return stream.getvalue()


@pytest.mark.parametrize(
    "samples",
    [b"x", b"PK\x03\x04 is how an archive begins", golden(model())[:500], bytes(200), _pickled()],
    ids=["text", "no archive", "truncated", "zeros", "pickle"],
)
def test_malformed_samples_are_told(tmp_path: Path, samples: bytes) -> None:
    bundle = write_tiny(tmp_path / "a.edgedx", samples=samples)
    with pytest.raises(BundleError, match="golden samples are malformed"):
        _check(bundle)


def test_samples_that_are_missing_or_of_another_variant_are_told(tmp_path: Path) -> None:
    three = Golden(file="golden.npz", count=3, tolerance={"fp32": 1e-4})
    with pytest.raises(BundleError, match="malformed.*image_2"):
        _check(write_tiny(tmp_path / "a.edgedx", golden=three))
    with pytest.raises(BundleError, match="malformed.*logits_int8"):
        _check(write_tiny(tmp_path / "b.edgedx"), "int8")
    assert manifest().golden.count == 2
