"""`edgedx scan --heatmap`: a picture beside the result, or a refusal to start that says why there would be none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from bundles import SPEC, model, picture, png, write_tiny
from inprocess import edgedx

from edgedx.core.bundle.doubt import Doubt
from edgedx.core.preprocess import normalise
from edgedx.lab.quantize.cam import add_cam

ARGUMENTS = ("scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--once", "--settle", "0.1", "--heatmap")


def test_a_picture_lies_beside_each_result_under_the_same_name(tmp_path: Path) -> None:
    images = normalise(np.stack([picture(seed, size=16) for seed in range(8)]), SPEC)
    write_tiny(tmp_path / "tiny.edgedx", network=add_cam(model(), images), doubt=Doubt(cam={"fp32": (16, 16)}))
    png(tmp_path / "inbox/bright.png", 1, bright=True)
    done = edgedx(tmp_path, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "out/results").glob("*.png")
    assert written.with_suffix(".json").is_file()
    assert cv2.imread(str(written)).shape == (544, 512, 3)


def test_a_bundle_without_maps_refuses_to_start(tmp_path: Path) -> None:
    missing = {"cam": "fp32: the classifier reads HardSwish, not the mean of a feature map over space"}
    write_tiny(tmp_path / "tiny.edgedx", doubt=Doubt.model_validate({"missing": missing}))
    png(tmp_path / "inbox/bright.png", 1, bright=True)
    done = edgedx(tmp_path, *ARGUMENTS)
    assert done.returncode == 2
    assert "HardSwish" in done.stderr and "without --heatmap" in done.stderr
    assert not list((tmp_path / "out/results").glob("*"))
