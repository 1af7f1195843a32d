"""The whole way by the command line, on a tiny data set: finetune, compress, deploy, install, bench, scan."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from inprocess import edgedx
from tiny_flow import RECIPE, make_images

from edgedx.core.bundle.manifest import open_bundle

PROFILE = "x86-avx2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything up to the bundle."""
    path = tmp_path_factory.mktemp("flow")
    arrays = {}
    for seed, (split, count) in enumerate((("train", 256), ("val", 96), ("test", 96))):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = make_images(count, seed)
    np.savez(path / "tiny.npz", **arrays)
    (path / "tiny.yaml").write_text(RECIPE)
    for arguments in (
        ("finetune", "tiny.yaml"),
        ("compress", "runs/tiny", "--device", "x86-avx2"),
        ("deploy", "runs/tiny"),
    ):
        done = edgedx(path, *arguments)
        assert done.returncode == 0, done.stderr
    return path


def _bundle(folder: Path) -> Path:
    return next((folder / "runs" / "tiny" / "devices" / PROFILE / "bundle").glob("*.edgedx"))


def test_every_stage_leaves_its_record(folder: Path) -> None:
    for stage in ("data", "teacher", "student", f"devices/{PROFILE}/variants", f"devices/{PROFILE}/bundle"):
        record = json.loads((folder / "runs" / "tiny" / stage / "stage.json").read_text())
        assert record["schema_version"] == 1
        assert record["versions"]["edgedx"]
        assert record["wall_seconds"] >= 0


def test_the_bundle_is_whole_and_names_no_path_of_this_machine(folder: Path) -> None:
    bundle = open_bundle(_bundle(folder))
    assert {"fp32", "int8-u8s8"} <= set(bundle.manifest.variants)
    assert bundle.manifest.gate["passed"] is True
    for name in bundle.names():
        assert str(folder).encode() not in bundle.read(name)
        assert b"site-packages" not in bundle.read(name)


def test_commands_repeat_nothing_when_nothing_changed(folder: Path) -> None:
    done = edgedx(folder, "compress", "runs/tiny/teacher", "--int8", "--device", "x86-avx2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reused"] is True


def test_other_settings_do_not_replace_a_result_unasked(folder: Path) -> None:
    done = edgedx(folder, "finetune", "tiny.yaml", "--set", "train.epochs=1")
    assert done.returncode == 2
    assert "--overwrite" in done.stderr


def test_a_bundle_for_another_target_is_refused(folder: Path) -> None:
    done = edgedx(folder, "deploy", "runs/tiny", "--target", "jetson")
    assert done.returncode == 2
    assert "runs/tiny is compressed for x86-avx2 (cpu), none of target jetson" in done.stderr
    assert "edgedx compress runs/tiny --device NAME" in done.stderr
    other = edgedx(folder, "deploy", "runs/tiny", "--device", "x86-vnni")
    assert other.returncode == 2 and "x86-avx2" in other.stderr and "x86-vnni" in other.stderr
    both = edgedx(folder, "deploy", "runs/tiny", "--device", "x86-avx2", "--target", "rtx")
    assert both.returncode == 2 and "x86-avx2 has target cpu, not rtx" in both.stderr
    wrong = edgedx(folder, "deploy", "runs/tiny", "--target", "jeston")
    assert wrong.returncode == 2 and "did you mean jetson" in wrong.stderr


def test_int8_is_made_where_the_device_has_it_and_left_out_on_request(folder: Path) -> None:
    plain = edgedx(folder, "compress", "runs/tiny", "--device", "x86-avx2", "--json")
    assert "int8-u8s8" in json.loads(plain.stdout)["metrics"]["variants"]
    shutil.copytree(folder / "runs/tiny", folder / "runs/float", ignore=shutil.ignore_patterns("devices"))
    done = edgedx(folder, "compress", "runs/float", "--device", "x86-avx2", "--no-int8", "--json")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["metrics"]["variants"]) == ["fp32"]
    nano = edgedx(folder, "compress", "runs/float", "--device", "jetson-nano", "--json")  # it has no INT8 kernels
    assert nano.returncode == 0, nano.stderr
    assert list(json.loads(nano.stdout)["metrics"]["variants"]) == ["fp32", "fp16"]
    back = edgedx(folder, "compress", "runs/tiny", "--device", "x86-avx2", "--no-int8")
    assert back.returncode == 2 and "--overwrite" in back.stderr  # INT8 is there: not thrown away unasked
    asked = edgedx(folder, "compress", "runs/float", "--device", "jetson-nano", "--int8")
    assert asked.returncode == 2 and "has no INT8 kernels" in asked.stderr


def _turn_round(path: Path) -> None:
    """Swap the logits of a graph."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = ["straight" if name == "logits" else name for name in node.output]
        node.input[:] = ["straight" if name == "logits" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 0]), "other way"))
    model.graph.node.append(helper.make_node("Gather", ["straight", "other way"], ["logits"], axis=1))
    onnx.save(model, path)


def test_the_gate_runs_the_artifact_again_on_either_split(folder: Path) -> None:
    done = edgedx(folder, "gate", "runs/tiny", "--split", "test")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gate      passed: the shipped model ")
    for row in ("AUC", "sensitivity bright", "specificity bright", "ECE", "Brier score"):
        assert row in done.stdout
    assert "of 96 decisions differ from the teacher's (at youden)" in done.stdout
    assert done.stdout.splitlines()[-1] == "next      edgedx deploy runs/tiny"
    onnx = edgedx(folder, "gate", f"runs/tiny/devices/{PROFILE}/variants/fp32.onnx", "--json", "--out", "judged")
    assert onnx.returncode == 0, onnx.stderr
    verdict = json.loads(onnx.stdout)
    assert verdict["split"] == "val" and verdict["images"] == 96 and "variant fp32" in verdict["ran"]
    assert json.loads((folder / "judged" / "gate.json").read_text())["auc_drop"] == verdict["auc_drop"]
    bundle = edgedx(folder, "gate", str(_bundle(folder)), "--variant", "fp32", "--json")
    assert json.loads(bundle.stdout)["figures"]["auc"] == verdict["figures"]["auc"]  # the same file, the same figures


def test_a_gate_that_says_no_exits_with_1_and_writes_no_bundle(folder: Path) -> None:
    import yaml

    shutil.copytree(folder / "runs" / "tiny", folder / "runs" / "strict")
    shutil.rmtree(folder / "runs" / "strict" / "devices" / PROFILE / "bundle")
    for name in ("fp32", "int8-u8s8"):  # the artifact itself answers the contrary, whatever was measured before
        _turn_round(folder / "runs" / "strict" / "devices" / PROFILE / "variants" / f"{name}.onnx")
    recipe = yaml.safe_load((folder / "runs" / "strict" / "recipe.yaml").read_text())
    recipe["gate"]["max_auc_drop"] = 0.01
    (folder / "runs" / "strict" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    refused = edgedx(folder, "deploy", "runs/strict", "--target", "cpu")
    assert refused.returncode == 1, refused.stderr
    assert "over the budget of 0.01" in refused.stderr
    verdict = json.loads((folder / "runs" / "strict" / "devices" / PROFILE / "bundle" / "gate.json").read_text())
    assert not verdict["passed"] and verdict["auc_drop"]["value"] > 0.5 and verdict["flips"] > 48
    with (folder / "runs" / "strict" / "devices" / PROFILE / "bundle" / "flips.csv").open(newline="") as stream:
        flips = list(csv.DictReader(stream))
    assert len(flips) == verdict["flips"] and all(flip["teacher"] != flip["student"] for flip in flips)
    assert not list((folder / "runs" / "strict" / "devices" / PROFILE / "bundle").glob("*.edgedx"))
    forced = edgedx(folder, "deploy", "runs/strict", "--target", "cpu", "--force")
    assert forced.returncode == 0, forced.stderr
    bundle = open_bundle(next((folder / "runs" / "strict" / "devices" / PROFILE / "bundle").glob("*.edgedx")))
    assert bundle.manifest.gate["forced"] is True
    assert "over the budget" in str(bundle.manifest.gate["refused"])
    assert b"Gate: FORCED" in bundle.read("model-card.md")


def test_install_then_scan_answers_every_input(folder: Path) -> None:
    refused = edgedx(folder, "install", str(_bundle(folder)), "--root", "device")
    assert refused.returncode == 1 and "keys pin" in refused.stderr
    assert edgedx(folder, "keys", "new", "release").returncode == 0
    assert edgedx(folder, "keys", "pin", "release.pub", "--root", "device").returncode == 0
    signed = edgedx(folder, "deploy", "runs/tiny", "--target", "cpu", "--sign", "release.key", "--json")
    assert signed.returncode == 0, signed.stderr
    assert json.loads(signed.stdout)["reused"] is True  # signing an old bundle repeats no stage
    done = edgedx(folder, "install", str(_bundle(folder)), "--root", "device")
    assert done.returncode == 0, done.stderr
    assert "signed by release" in done.stdout
    inbox = folder / "inbox"
    inbox.mkdir()
    images, labels = make_images(20, 9)
    for number, image in enumerate(images):
        cv2.imwrite(str(inbox / f"{number:02d}.png"), image)
    (inbox / "notes.txt").write_text("not an image")
    done = edgedx(folder, "scan", "inbox", "--bundle", "device/current", "--out", "out", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["read_now"] == {"done": 20, "refused": 0, "quarantined": 1}
    results = [json.loads(path.read_text()) for path in (folder / "out" / "results").glob("*.json")]
    right = [
        result["prediction"]["label"] == ("dark", "bright")[int(labels[int(result["source"]["name"][:2]), 0])]
        for result in results
        if result["status"] == "done"
    ]
    assert sum(right) >= 17  # the model learned an easy task, and the device computes what the lab computed


def test_bench_sets_models_side_by_side(folder: Path) -> None:
    names = ["runs/tiny/teacher", str(_bundle(folder)), "resnet18"]
    done = edgedx(folder, "bench", *names, "--seconds", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [bool(row["auc"]) for row in rows] == [True, True, False]
    assert rows[2]["input"] == [1, 32, 32]
    assert (folder / "bench" / "pareto.png").stat().st_size > 5000


def test_a_jetson_bundle_carries_a_typed_fp16_and_a_symmetric_int8_graph(folder: Path) -> None:
    """The same run serves another device: its student is shared, its bundle for this machine stays as it was."""
    import onnx

    before = _bundle(folder).read_bytes()
    for arguments in (
        ("compress", "runs/tiny", "--int8", "--device", "orin-nano-8gb"),
        ("deploy", "runs/tiny", "--target", "jetson"),
    ):
        done = edgedx(folder, *arguments)
        assert done.returncode == 0, done.stderr
    assert "TensorRT" in done.stdout and _bundle(folder).read_bytes() == before
    # JetPack 5.1 and 6.0 have older parsers, which is said before shipping; 6.1 and later take both graphs.
    assert "JetPack 6.0, int8-trt: opset 19" in done.stderr
    assert "JetPack 6.1" not in done.stderr.replace("JetPack 6.1 or newer", "")
    bundle = open_bundle(next((folder / "runs" / "tiny" / "devices" / "orin-nano-8gb" / "bundle").glob("*.edgedx")))
    half = onnx.load_from_string(bundle.model("fp16"))
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in half.graph.initializer}
    int8 = onnx.load_from_string(bundle.model("int8-trt"))
    numbers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    zeros = [numbers[node.input[2]] for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert zeros and all(value.dtype == np.int8 and not value.any() for value in zeros)
    (folder / "none").mkdir()
    scanned = edgedx(folder, "scan", "none", "--bundle", str(bundle.path), "--out", "never", "--once")
    assert scanned.returncode == 3  # no TensorRT here: said, not replaced in silence
    assert "--variant fp32" in scanned.stderr


@pytest.mark.slow
def test_an_rtx_bundle_brings_engines_by_nvidias_own_builder(folder: Path) -> None:
    from edgedx.core.bundle.engine_part import unpack_engine
    from edgedx.device.runtime.tensorrt_library import installed, load_library

    if not installed("tensorrt_rtx"):
        pytest.skip('TensorRT for RTX is not installed: pip install "edgedx[rtx]"')
    for arguments in (
        ("compress", "runs/tiny", "--int8", "--device", "rtx-pc"),
        ("deploy", "runs/tiny", "--target", "rtx"),
    ):
        done = edgedx(folder, *arguments)
        assert done.returncode == 0, done.stderr
    assert "engine    int8-trt for SM 8.0, 8.6, 8.9, 12.0" in done.stdout
    bundle = open_bundle(next((folder / "runs" / "tiny" / "devices" / "rtx-pc" / "bundle").glob("*.edgedx")))
    engines = bundle.manifest.engines
    assert {(one.variant, one.sm[0]) for one in engines} == {
        (variant, sm) for variant in ("fp16", "int8-trt") for sm in ("8.0", "7.5")
    }
    for one in engines:
        assert one.runtime_version == load_library("tensorrt_rtx").version
        assert len(unpack_engine(bundle.read(one.file), one)) == one.bytes
