"""The examination of a slot in a fresh process survives whatever the runtime does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from bundles import MODEL, golden, model, write_tiny
from onnx import TensorProto, helper, numpy_helper
from pacs import wait_for

from edgedx.core.bundle.manifest import unpack_to
from edgedx.core.errors import BundleError, EdgedxError, GateRefused
from edgedx.device.install.active import open_any
from edgedx.device.install.health import Health, examine, examine_fresh, prove, prove_fresh
from edgedx.device.install.install import install_bundle
from edgedx.device.install.rollback import rollback
from edgedx.device.install.slots import active_slot
from edgedx.device.install.state import read_state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "a.edgedx")
    install_bundle(tmp_path / "a.edgedx", tmp_path / "device", allow_unsigned=True, examine=examine, prove=prove)
    return tmp_path / "device"


def _runtime(folder: Path, body: str) -> Path:
    """A package onnxruntime that is found before the real one, as a broken update would be."""
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime/__init__.py").write_text(body)
    return folder


def test_a_slot_that_works_is_healthy_in_both_ways(root: Path) -> None:
    here, fresh = examine(root), examine_fresh(root, "a")
    assert here.ok and fresh.ok and here == fresh and here.golden_difference is not None


def test_errors_of_ours_become_findings(root: Path) -> None:
    (root / "current" / MODEL).write_bytes(b"rotten")
    for health in (examine(root), examine_fresh(root)):
        assert not health.ok and MODEL in health.why
    assert "slot b" in examine(root, "b").why
    assert "nothing is installed" in examine(root.parent).why


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "crashed: Segmentation fault"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n", "crashed: Illegal instruction"),
        ("import os\nos._exit(7)\n", "ended with 7"),
        ("raise ImportError('libonnxruntime.so: undefined symbol')\n", "undefined symbol"),
        ("import time\ntime.sleep(60)\n", "did not answer within 5 s"),
        ("print('{}')\nimport os\nos._exit(0)\n", "ended with 0"),
    ],
)
def test_a_runtime_that_breaks_takes_only_its_process_along(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    package = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(_runtime(tmp_path / "broken", body)), package]))
    health = examine_fresh(root, timeout=5)
    assert not health.ok and says in health.why


def test_a_missing_interpreter_is_a_finding(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "no process" in examine_fresh(root).why


def test_it_can_be_asked_from_a_shell(root: Path) -> None:
    command = [sys.executable, "-m", "edgedx.device.install.health", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["ok"] is True and done.stderr == ""


# Graphs that never end


def endless(kind: str) -> bytes:
    """A network of standard operators that has the right shapes and never answers."""
    true, forever = numpy_helper.from_array(np.array(True), "true"), np.array(np.iinfo(np.int64).max)
    make = helper.make_node
    inner = [make("Identity", ["going"], ["goes"]), make("Add", ["sum", "sum"], ["more"])]
    if kind == "nested":
        body = _body([make("Identity", ["going2"], ["goes2"]), make("Add", ["sum2", "sum2"], ["more2"])], "2")
        inner = [make("Identity", ["going"], ["goes"]), make("Loop", ["", "going", "sum"], ["more"], body=body)]
    loop = make("Loop", ["trips" if kind == "counted" else "", "true", "pooled"], ["looped"], body=_body(inner))
    outside = [make("Flatten", ["looped"], ["features"]), make("Gemm", ["features", "weight"], ["logits"])]
    if kind == "branch":
        shape = [helper.make_tensor_value_info("looped_", TensorProto.FLOAT, None)]
        loop.output[0] = "looped_"
        then = helper.make_graph([loop], "then", [], shape)
        other = helper.make_graph([make("Identity", ["pooled"], ["looped_"])], "else", [], shape)
        loop = make("If", ["true"], ["looped"], then_branch=then, else_branch=other)
    graph = helper.make_graph(
        [make("GlobalAveragePool", ["image"], ["pooled"]), loop, *outside], "endless",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2]),
         helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1])],
        [true, numpy_helper.from_array(forever, "trips"),
         numpy_helper.from_array(np.ones((1, 2), np.float32), "weight")],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


def _body(nodes: list[onnx.NodeProto], mark: str = "") -> onnx.GraphProto:
    names = [(f"trip{mark}", TensorProto.INT64), (f"going{mark}", TensorProto.BOOL), (f"sum{mark}", TensorProto.FLOAT)]
    taken = [helper.make_tensor_value_info(name, kind, None if kind == 1 else []) for name, kind in names]
    given = [
        helper.make_tensor_value_info(f"goes{mark}", TensorProto.BOOL, []),
        helper.make_tensor_value_info(f"more{mark}", TensorProto.FLOAT, None),
    ]
    return helper.make_graph(nodes, f"body{mark}", taken, given)


@pytest.mark.parametrize("kind", ["loop", "counted", "nested", "branch"])
def test_a_network_that_never_ends_is_not_installed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("edgedx.device.install.health.CPU_SECONDS", 4.0)
    write_tiny(tmp_path / "b.edgedx", version="2", network=endless(kind), samples=golden(model()))
    with pytest.raises(GateRefused, match="did not answer within 4 s"):
        install_bundle(tmp_path / "b.edgedx", root, allow_unsigned=True)
    assert os.listdir(root / "slots") == ["a"] and read_state(root).ratchet == {"tiny": "1"}
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(root) in str(one.info["cmdline"])]


def test_a_network_that_never_ends_is_not_gone_back_to(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedx.device.install.health.CPU_SECONDS", 4.0)
    write_tiny(tmp_path / "b.edgedx", version="2", network=endless("loop"), samples=golden(model()))
    skip = {"allow_unsigned": True, "examine": lambda root: Health(True), "prove": lambda *_: 0.0}
    install_bundle(tmp_path / "b.edgedx", root, **skip)
    write_tiny(tmp_path / "c.edgedx", version="3")
    install_bundle(tmp_path / "c.edgedx", root, **skip)
    with pytest.raises(GateRefused, match="did not answer"):
        rollback(root)
    assert active_slot(root) == "a"
    assert "did not answer" in examine_fresh(root, "b").why


def test_an_installation_that_is_killed_leaves_no_process_behind(root: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "b.edgedx", version="2", network=endless("loop"), samples=golden(model()))
    command = [sys.executable, "-m", "edgedx", "install", tmp_path / "b.edgedx", "--root", root, "--allow-unsigned"]
    installing = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def examining() -> list[psutil.Process]:
        return [
            one for one in psutil.process_iter(["cmdline"])
            if "edgedx.device.install.health" in (one.info["cmdline"] or ()) and str(root) in str(one.info["cmdline"])
        ]  # fmt: skip

    wait_for(examining)
    installing.kill()
    installing.wait()
    wait_for(lambda: not examining())


@pytest.mark.parametrize(
    ("shift", "network", "error"), [(0.5, model(), GateRefused), (0.0, b"no network", BundleError)]
)
def test_a_fresh_process_says_what_is_wrong_as_this_one_would(
    tmp_path: Path, shift: float, network: bytes, error: type[EdgedxError]
) -> None:
    write_tiny(tmp_path / "b.edgedx", network=network, samples=golden(model(), shift))
    unpack_to(open_any(tmp_path / "b.edgedx"), tmp_path / "unpacked")
    bundle = open_any(tmp_path / "unpacked")
    with pytest.raises(error) as here:
        prove(bundle, None)
    with pytest.raises(error) as fresh:
        prove_fresh(bundle, None)
    assert (here.value.message, here.value.next_step) == (fresh.value.message, fresh.value.next_step)
