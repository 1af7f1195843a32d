"""Building engines with NVIDIA's real builder, which TensorRT for RTX runs without a GPU; and all that can end it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from networks import convolution, needs_rtx
from onnx import helper

from edgedx.core.errors import MissingError, ProviderMissing, UnsupportedModel, UsageError
from edgedx.device.runtime.build_trt import build_engine
from edgedx.device.runtime.engine_settings import EASY_LEVEL, MIB, BuildSettings, check_dla, easier, workspace_bytes
from edgedx.device.runtime.tensorrt_library import abilities, installed, load_library, version_numbers

RTX = BuildSettings("tensorrt_rtx", "fp32", capabilities=("8.6",))


def child(code: str) -> list[str]:
    """A stand-in for the builder process that reads the request and then does `code`."""
    return [
        sys.executable,
        "-c",
        "import json, os, sys, time\nrequest = json.load(sys.stdin)\n" + textwrap.dedent(code),
    ]


@needs_rtx
def test_the_real_builder_makes_an_engine_without_a_gpu(tmp_path: Path) -> None:
    built = build_engine(convolution(), RTX, folder=tmp_path)
    assert len(built.plan) > 1000
    assert built.report.library.startswith("TensorRT-RTX 1.")
    assert built.report.weighted == {"FLOAT": 1}
    assert built.report.attempts == 1
    assert 20 < built.report.peak_mb < 2000
    assert not list(tmp_path.iterdir())


@needs_rtx
@pytest.mark.parametrize(
    ("model", "word"),
    [
        (convolution(extra=[helper.make_node("Unique", ["pooled"], ["logits"])]), "Unique"),
        (convolution(size="s"), "dynamic size"),
        (b"not an ONNX file", "parse"),
    ],
)
def test_a_graph_that_the_parser_refuses_is_named(model: bytes, word: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=word) as caught:
        build_engine(model, RTX, folder=tmp_path)
    assert caught.value.next_step
    assert not list(tmp_path.iterdir())


@needs_rtx
def test_real_memory_that_runs_short_ends_the_child_and_not_the_parent(tmp_path: Path) -> None:
    settings = BuildSettings("tensorrt_rtx", "fp32", capabilities=("8.6",), memory_mb=320)
    with pytest.raises(MissingError, match="memory ran short") as caught:
        build_engine(_large(), settings, folder=tmp_path)
    assert "swap" in str(caught.value.next_step)
    assert not list(tmp_path.iterdir())


def _large() -> bytes:
    """60 MB of weights."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(convolution(extra=[helper.make_node("MatMul", ["pooled", "wall"], ["logits"])]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4_000_000), np.float32), "wall"))
    return bytes(model.SerializeToString())


@needs_rtx
def test_the_real_child_is_killed_at_the_time_limit(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(MissingError, match="took longer") as caught:
        build_engine(convolution(), RTX, seconds=0.02, folder=tmp_path)
    assert time.monotonic() - begun < 5
    assert "--timeout" in str(caught.value.next_step)


def test_a_child_that_hangs_is_dead_afterwards(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(MissingError, match="took longer"):
        build_engine(
            b"",
            RTX,
            seconds=1.5,
            folder=tmp_path,
            command=child(f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"),
        )
    pid = int(note.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_crash_of_the_builder_is_told_with_its_signal(tmp_path: Path) -> None:
    with pytest.raises(ProviderMissing, match="signal 11"):
        build_engine(b"", RTX, folder=tmp_path, command=child("os.kill(os.getpid(), 11)"))
    with pytest.raises(ProviderMissing, match="exit 3"):
        build_engine(b"", RTX, folder=tmp_path, command=child("print('no json', flush=True); sys.exit(3)"))


def test_what_the_kernel_kills_is_taken_for_memory_and_tried_once_more_with_less(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"open({str(log)!r}, 'a').write(json.dumps(request) + '\\n'); os.kill(os.getpid(), 9)"
    with pytest.raises(MissingError, match="memory ran short"):
        build_engine(b"", RTX, folder=tmp_path, command=child(code))
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert second["workspace_bytes"] == first["workspace_bytes"] // 4
    assert (first["level"], second["level"]) == (None, EASY_LEVEL)


def test_the_second_attempt_counts_when_it_works(tmp_path: Path) -> None:
    code = """
    if request["level"] is None:
        print(json.dumps({"error": "memory", "message": "out of memory"}), flush=True)
    else:
        open(request["folder"] + "/engine.plan", "wb").write(b"plan")
        print(json.dumps({"phase": "build", "done": 0.5}), flush=True)
        print(json.dumps({"library": "TensorRT 10.3.0", "layers": 1, "types": {}, "weighted": {}, "seconds": 1.0,
                          "peak_mb": 1.0, "warnings": []}), flush=True)
    """
    built = build_engine(b"", RTX, folder=tmp_path, command=child(code))
    assert (built.plan, built.report.attempts) == (b"plan", 2)


@needs_rtx
def test_the_child_offers_itself_to_the_out_of_memory_killer_and_dies_with_its_parent() -> None:
    code = (
        "from edgedx.device.runtime.build_worker import _confine; _confine(None); import ctypes, os; "
        "signal = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(signal)); "  # PR_GET_PDEATHSIG
        "print(open('/proc/self/oom_score_adj').read().strip(), signal.value, os.nice(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    score, signal, niceness = (int(word) for word in done.stdout.split())
    assert (score, signal) == (1000, 9)
    assert niceness >= min(19, os.nice(0) + 10)


@pytest.mark.parametrize(
    ("version", "typed", "flags", "explicit", "level", "progress", "dla"),
    [
        ("8.5.2", False, True, True, False, False, True),
        ("8.6.1", False, True, True, True, False, True),
        ("10.3.0", True, True, False, True, True, True),
        ("10.16.1.11", True, True, False, True, True, False),
        ("11.4.0.106", True, False, False, True, True, False),
    ],
)
def test_each_tensorrt_is_asked_for_what_it_has(
    version: str, typed: bool, flags: bool, explicit: bool, level: bool, progress: bool, dla: bool
) -> None:
    can = abilities("tensorrt", version_numbers(version))
    assert (can.strongly_typed, can.precision_flags, can.explicit_batch_flag) == (typed, flags, explicit)
    assert (can.optimization_level, can.progress, can.dla, can.without_gpu) == (level, progress, dla, False)


@needs_rtx
def test_the_rtx_library_really_has_what_the_table_says() -> None:
    trt = load_library("tensorrt_rtx").module
    can = load_library("tensorrt_rtx").abilities
    assert hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") == can.strongly_typed
    assert hasattr(trt.BuilderFlag, "FP16") == can.precision_flags
    assert hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") == can.explicit_batch_flag
    assert hasattr(trt, "IProgressMonitor") == can.progress
    assert hasattr(trt.IBuilderConfig, "set_compute_capability") == can.without_gpu


@pytest.mark.skipif(installed("tensorrt"), reason="TensorRT is installed here")
def test_a_missing_tensorrt_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(ProviderMissing, match="tensorrt is not installed") as caught:
        load_library("tensorrt")
    assert "python3-libnvinfer" in str(caught.value.next_step)


def test_the_workspace_follows_the_memory() -> None:
    assert workspace_bytes(4.0) == 512 * MIB
    assert workspace_bytes(64.0) == 4096 * MIB
    assert workspace_bytes(8.0, available_bytes=1024 * MIB) == 256 * MIB
    assert workspace_bytes(4.0, available_bytes=10 * MIB) == 64 * MIB
    tried = easier(BuildSettings("tensorrt", "int8", workspace_bytes=512 * MIB))
    assert (tried.workspace_bytes, tried.level, tried.precision) == (128 * MIB, EASY_LEVEL, "int8")


@pytest.mark.parametrize(
    ("precision", "cores", "core", "version", "word"),
    [
        ("fp16", 0, 0, (10, 3), "has no DLA"),
        ("fp16", 2, 2, (10, 3), "not 2"),
        ("fp16", 2, 0, (10, 13), "10.7 was the last"),
        ("int8", 2, 0, (10, 3), "fp16"),
        ("fp32", 2, 0, (8, 5), "fp16"),
    ],
)
def test_limits_of_the_dla_are_told_beforehand(
    precision: str, cores: int, core: int, version: tuple[int, ...], word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        check_dla(precision, cores, core, abilities("tensorrt", version), "orin-nx-16gb")
    check_dla("fp16", 2, 1, abilities("tensorrt", (10, 3)), "orin-nx-16gb")
