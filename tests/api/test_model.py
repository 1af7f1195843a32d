"""The Python interface: what `edgedx.open_model` opens, and what its predictions say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bundles
import numpy as np
import pytest
from inprocess import edgedx as command
from made_run import VARIANTS, write_run

import edgedx
from edgedx.core.errors import InputOutputError
from edgedx.core.settings.accept import Accept
from edgedx.device.install.active import open_any
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.predict import Predictor
from edgedx.dicom.reading.open import open_image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.edgedx"
    bundles.write_tiny(path)
    return path


def test_importing_edgedx_loads_nothing_and_names_what_it_offers() -> None:
    code = "import sys, edgedx; print('numpy' in sys.modules, sorted(set(edgedx.__all__) - set(dir(edgedx))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"
    for name in set(edgedx.__all__) - {"__version__"}:
        assert getattr(edgedx, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = edgedx.train


def test_a_bundle_predicts_what_the_scanner_would(bundle: Path, tmp_path: Path) -> None:
    path = bundles.png(tmp_path / "a.png", 3)
    with edgedx.open_model(bundle) as model:
        found = model.predict(path)
    opened = open_any(bundle)
    with open_runner(opened) as runner:
        (answer,) = Predictor(opened, runner).predict([open_image(path.read_bytes()).image])
    assert found.status == "done" and found.label == answer.prediction.label
    assert found.probabilities == answer.prediction.probabilities
    json.dumps(found.to_dict(), allow_nan=False)


def test_path_array_sequence_and_folder_give_the_same(bundle: Path, tmp_path: Path) -> None:
    pixels = bundles.picture(5)
    paths = [bundles.png(tmp_path / "set" / f"{n}.png", 5 + n) for n in range(3)]
    (tmp_path / "set" / "labels.csv").write_text("image,label\n")
    model = edgedx.open_model(bundle)
    one = model.predict(pixels)
    assert one.probabilities == model.predict(paths[0]).probabilities and one.source == "array"
    several = model.predict(tmp_path / "set")
    assert [found.source for found in several] == [str(path) for path in paths]
    assert [found.probabilities for found in several] == [found.probabilities for found in model.predict(paths)]


def test_what_cannot_be_read_or_was_not_made_for_it_has_a_reason_and_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chest.edgedx"
    bundles.write_tiny(path, accept=Accept(modality=["CR"], age_years=(18, 90)))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    images = [
        tmp_path / "broken.png",
        bundles.dicom(tmp_path / "cr.dcm", 1),
        bundles.dicom(tmp_path / "dx.dcm", 2, kind="DX"),
        bundles.png(tmp_path / "a.png", 1),
        tmp_path / "absent.png",
    ]
    found = edgedx.open_model(path).predict(images)
    assert [one.status for one in found] == ["unreadable", "done", "refused", "done", "unreadable"]
    assert found[2].reason.startswith("MODALITY: ") and found[2].label is None and not found[2].probabilities
    assert found[3].not_checked == ("modality", "age") and found[1].not_checked == ("age",)
    assert "cannot be opened" in found[4].reason
    page = found[3]._repr_html_()
    assert "not checked" in page and "not a medical device" in page and "<img" in page


def test_hostile_names_stay_text_in_a_notebook() -> None:
    page = edgedx.ImagePrediction("<script>alert(1)</script>.png", "refused", reason="<b>x</b>")._repr_html_()
    assert "<script>" not in page and "<b>x</b>" not in page


def test_a_run_and_its_onnx_file_predict_with_what_ships(tmp_path: Path) -> None:
    write_run(tmp_path)
    pixels = np.full((40, 40), 200, np.uint8)
    pixels[:20] = 30
    whole, file = (edgedx.open_model(path) for path in (tmp_path / "run", tmp_path / VARIANTS / "int8-u8s8.onnx"))
    assert whole.predict(pixels).probabilities == file.predict(pixels).probabilities
    assert whole.predict(pixels).operating_point == "youden" and whole.classes == ["dark", "bright"]
    with pytest.raises(ValueError, match="no heat map"):
        whole.predict(pixels).heat_map()


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="nothing at"):
        edgedx.open_model(tmp_path / "gone.edgedx")


def test_the_command_predicts_files_and_folders(tmp_path: Path, bundle: Path) -> None:
    paths = [bundles.png(tmp_path / f"set/{n}.png", n, bright=n == 1) for n in range(2)]
    done = command(tmp_path, "predict", "set", str(paths[0]), "--bundle", str(bundle), "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["predictions"]
    assert [one["label"] for one in listed][:2] == [one.label for one in edgedx.open_model(bundle).predict(paths)]
    assert len(listed) == 3 and "not a medical device" in listed[0]["disclaimer"]
    table = command(tmp_path, "predict", "set/0.png", "--bundle", str(bundle))
    assert "0.png" in table.stdout and "not a medical device" in table.stdout
    assert command(tmp_path, "predict", "gone.png", "--bundle", str(bundle)).returncode == 5
