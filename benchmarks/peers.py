"""edgedx's INT8 beside what anyone would pick instead, on the same teachers and the same test images, in one run.

    python benchmarks/peers.py --runs runs/modalities-96 --work work/peers --sets kermany skin brain
    python benchmarks/peers.py ... --seconds 20            # again: models and answers are kept in WORK, times are new

RUNS holds runs as `benchmarks/modalities.py` leaves them (``SET/0`` with teacher, student and its INT8 file). Each of

- ONNX Runtime's static quantization, by default and as its documentation advises for this CPU,
- NNCF's post-training quantization, by default and by its presets for accuracy, in ONNX Runtime and in OpenVINO,
- NVIDIA ModelOpt's ONNX quantization, by both of its calibrators,

quantizes the teacher's graph (which is what one would do without edgedx) and the graph of edgedx's pruned student, with
edgedx's calibration images, which are of the training split. Ultralytics' classifier is trained from random weights on
the same training images and exported to ONNX by its own defaults, in FP32 and INT8. Every tool lives in a virtual
environment of its own below WORK, which pip makes the first time (about 15 GB in all, most of it torch, twice). All
answer the same preprocessed test images; all decide for the likeliest class; all latencies are taken by turns in one
process, one image on one thread. Writes ``benchmarks/results/peers.json`` and the tables in ``docs/peers.md``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import peers_figures as figures
from foreign_tools import Foreign, Tool
from modalities_figures import variants

from edgedx.cli.common import profile_for
from edgedx.core.files import read_json, write_bytes, write_json
from edgedx.core.preprocess import Canvas, normalise
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.compress.compress import ranges_to_try
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.quantize.choice import same_kernels
from edgedx.lab.quantize.int8 import make_int8
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.quantize.workbench import noise_of
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions

ONNX, OPENVINO = "onnxruntime", "openvino"
PRESETS = {  # of each tool: what it is called in the table, and the presets among which val chooses
    "ort": {"default": ["default"], "advised": ["minmax", "percentile", "entropy"]},
    "nncf": {"default": ["default"], "for accuracy": ["mixed", "accurate"]},
    "modelopt": {"default": ["entropy"], "max": ["max"]},
}
SLOW = ("ort percentile", "ort entropy", "nncf accurate")
"""Minutes each on a CPU: histograms of every activation, and bias correction layer by layer."""
TITLES = {"ort": "ONNX Runtime", "nncf": "NNCF", "modelopt": "ModelOpt"}
NETWORK = "yolo26n-cls"
"""What it takes for classification unless told otherwise."""


@dataclass
class Peer:
    """One model in one runtime: one row.

    Attributes
    ----------
    graph : str
        teacher, student, or own.
    fused : bool
        False: 8-bit pairs computed in float, which is how a scheme for TensorRT is judged.
    rgb : bool
        Whether it takes colours from 0 to 1 and answers probabilities, as Ultralytics' exports do.
    """

    name: str
    graph: str
    path: Path
    runtime: str = ONNX
    fused: bool = True
    rgb: bool = False
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def megabytes(self) -> float:
        """Of the file."""
        return self.path.stat().st_size / 1e6


class Contest:
    """One set: its run, the images that everyone is given, and the models that are made once and kept."""

    def __init__(self, name: str, run: Run, work: Path, tools: dict[str, Tool], left_out: Sequence[str]) -> None:
        self.name, self.run, self.work, self.tools, self.recipe = name, run, work / name, tools, run.recipe()
        self.work.mkdir(parents=True, exist_ok=True)
        data = open_data(self.recipe, run)
        self.parts = {split: data.subset(split) for split in ("train", "val", "test")}
        self.failed: dict[str, str] = {}
        self.left_out = left_out
        rng = np.random.default_rng(self.recipe.train.seed)  # the images that edgedx calibrates with (`Workbench`)
        train = self.parts["train"]
        count = min(self.recipe.quantize.calibration_images, len(train))
        self.calibration = train.take(np.sort(rng.choice(len(train), count, replace=False)))
        self._save("calibration", self.calibration)
        for split in ("val", "test"):
            self._save(split, self.parts[split])

    def _save(self, name: str, part: Dataset) -> None:
        canvases = np.concatenate(list(part.batches(256)))
        np.save(self.work / f"{name}.npy", normalise(canvases, self.recipe.preprocess))
        np.save(self.work / f"{name}-rgb.npy", _colours(canvases).transpose(0, 3, 1, 2).astype(np.float32) / 255)

    # What is compared

    def peers(self, epochs: int, epochs_of_yolo: bool) -> list[Peer]:
        """Everything, made where it is not there yet."""
        shipped = variants(self.run)[figures.SHIPPED]
        found = [Peer(figures.EDGEDX, "student", shipped.path, told=_facts_of(shipped.entry))]
        for graph, model in (("teacher", self.run.teacher), ("student", self.run.student)):
            source = self.work / f"{graph}.onnx"
            if _older(source, model.path / "model.safetensors"):
                write_bytes(source, export_onnx(load_checkpoint(model.path).model, self.recipe.preprocess))
            found += [Peer(f"{graph} FP32", graph, source), Peer(f"{graph} FP32, OpenVINO", graph, source, OPENVINO)]
            if graph == "teacher":
                found.append(self._edgedx_of_the_teacher(source))
            for tool in [name for name in PRESETS if name in self.tools]:
                found += self._quantized(tool, graph, source)
        return found + (self._ultralytics(epochs) if epochs_of_yolo else [])

    def _edgedx_of_the_teacher(self, source: Path) -> Peer:
        """The teacher's graph by edgedx's own calibration and bias correction, without training."""
        target = self.work / "teacher-edgedx.onnx"
        if _older(target, source):
            profile = profile_for("this")
            scheme: Any = profile.quantization.scheme
            here = same_kernels(profile, read_hardware())
            quantize = self.recipe.quantize.model_copy(update={"qat": "never"})
            recipe = self.recipe.model_copy(update={"quantize": quantize})
            best, _ = make_int8(
                source.read_bytes(), recipe, load_checkpoint(self.run.teacher.path), self.parts["train"],
                self.parts["val"], scheme, ranges_to_try(profile, here), self.work / "state", here=here,
            )  # fmt: skip
            write_bytes(target, best.model)
        return Peer("edgedx on the teacher", "teacher", target)

    def _quantized(self, tool: str, graph: str, source: Path) -> list[Peer]:
        reference = self.ask(Peer(graph, graph, source), "val")
        found = []
        for title, presets in PRESETS[tool].items():
            tried: dict[str, tuple[float, Peer]] = {}
            for preset in [one for one in presets if f"{tool} {one}" not in self.left_out]:
                target = self.work / f"{graph}-{tool}-{preset}.onnx"
                name = f"{TITLES[tool]} {title} on the {graph}"
                try:
                    if _older(target, source):
                        print(f"{self.name}: {name}, {preset}", flush=True)
                        given = self.work / "given.onnx"  # a copy: ModelOpt writes to what it is given
                        write_bytes(given, source.read_bytes())
                        self.tools[tool].run(f"with_{tool}", given, self.work / "calibration.npy", target, preset)
                        for left in self.work.glob("given*"):
                            left.unlink()
                    peer = Peer(name, graph, target, OPENVINO if tool == "nncf" else ONNX, tool != "modelopt")
                    tried[preset] = noise_of(self.ask(peer, "val"), reference), peer
                except Foreign as error:
                    self.failed[f"{name}, {preset}"] = str(error)
            if not tried:
                continue
            best = min(tried, key=lambda preset: tried[preset][0])
            peer = tried[best][1]
            peer.told = {"preset": best, "val_noise": {key: round(one[0], 4) for key, one in tried.items()}}
            found.append(peer)
            if tool == "nncf" and title == "default":
                found.append(Peer(f"{peer.name}, in ONNX Runtime", graph, peer.path, told=peer.told))
        return found

    def _ultralytics(self, epochs: int) -> list[Peer]:
        target, size = self.work / "ultralytics", self.recipe.preprocess.size[0]
        images = self.work / "folders"
        record = self.work / "ultralytics.json"
        asked = {"network": NETWORK, "epochs": epochs, "size": size, "start": "random weights"}
        if not record.is_file() or read_json(record)["asked"] != asked:
            for split in ("train", "val"):
                self._write_folders(images / split, self.parts[split])
            print(f"{self.name}: Ultralytics", flush=True)
            begun = time.monotonic()
            seed = self.recipe.train.seed
            try:
                self.tools["ultralytics"].run(
                    "with_ultralytics", images, f"{NETWORK}.yaml", size, epochs, seed, target.resolve()
                )
            except Foreign as error:
                self.failed["Ultralytics"] = str(error)
                return []
            write_json(record, {"asked": asked, "seconds": round(time.monotonic() - begun)})
        told = read_json(record)
        return [
            Peer("Ultralytics FP32", "own", target.with_suffix(".onnx"), rgb=True, told=told),
            Peer("Ultralytics INT8", "own", target.with_name("ultralytics-int8.onnx"), rgb=True, told=told),
        ]

    def _write_folders(self, folder: Path, part: Dataset) -> None:
        classes = self.recipe.task.classes
        canvases = (canvas for batch in part.batches(64) for canvas in batch)
        for number, (label, canvas) in enumerate(zip(part.labels, canvases, strict=True)):
            place = folder / f"{int(label):02d}-{classes[int(label)]}"  # it numbers classes in the order of their names
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number:05d}.png"), _colours(canvas[None])[0][..., ::-1])

    # Asking

    def ask(self, peer: Peer, split: str) -> np.ndarray:
        """Logits (N, K) for a split; logarithms where a model answers probabilities. Kept beside the models."""
        source = self.work / f"{split}{'-rgb' if peer.rgb else ''}.npy"
        target = self.work / "answers" / f"{peer.name.replace(' ', '-')}-{peer.path.stem}-{split}.npy"
        if _older(target, peer.path):
            target.parent.mkdir(exist_ok=True)
            if peer.runtime == OPENVINO:
                self.tools["nncf"].run("ask_openvino", peer.path.resolve(), source.resolve(), target.resolve())
            else:
                np.save(target, _asked(peer, np.load(source)))
        answers: np.ndarray = np.load(target)
        return np.log(np.maximum(answers, 1e-12)) if peer.rgb else answers

    def times(self, peers: list[Peer], seconds: float) -> dict[str, Any]:
        """Latency of each, by turns."""
        size, channels = self.recipe.preprocess.size, self.recipe.preprocess.input_shape[0]
        entries = {
            one.name: [str(one.path.resolve()), one.runtime, [1, 3 if one.rgb else channels, *size]] for one in peers
        }
        write_json(self.work / "models.json", entries)
        target = self.work / "times.json"
        self.tools["nncf"].run("clock", (self.work / "models.json").resolve(), target.resolve(), seconds)
        return dict(read_json(target))


def _asked(peer: Peer, images: np.ndarray) -> np.ndarray:
    size = 1 if peer.rgb else 64  # Ultralytics exports one image at a time unless told otherwise
    with OnnxRunner(peer.path, fused=peer.fused) as runner:
        return np.concatenate([runner.infer(images[at : at + size]).logits for at in range(0, len(images), size)])


def _facts_of(entry: Any) -> dict[str, Any]:
    chosen = entry.get("chosen") or {}
    return {"step": chosen.get("step")} if chosen else {}


def _colours(canvases: Canvas) -> Canvas:
    """(N, H, W, 3) of 8 bits."""
    return canvases if canvases.ndim == 4 else np.repeat(canvases[..., None], 3, axis=-1)


def _older(target: Path, source: Path) -> bool:
    return not target.is_file() or target.stat().st_mtime < source.stat().st_mtime


def _command(args: argparse.Namespace) -> str:
    """Without the folders of this machine."""
    options = [
        "--repeat",
        args.repeat,
        "--sets",
        *args.sets,
        "--ultralytics",
        *args.ultralytics,
        "--tools",
        *args.tools,
    ]
    options += ["--epochs", str(args.epochs), *(["--quick"] if args.quick else []), "--seconds", f"{args.seconds:g}"]
    return " ".join(["python benchmarks/peers.py --runs RUNS --work WORK", *options])


def main() -> None:
    """One set after the other; a tool that does not install or fails is told with its reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of runs: SET/REPEAT")
    parser.add_argument("--repeat", default="0", help="seed or fold")
    parser.add_argument("--work", type=Path, required=True, help="folder for environments and models; kept")
    parser.add_argument("--sets", nargs="+", default=["kermany", "skin", "brain"])
    parser.add_argument("--ultralytics", nargs="*", default=["kermany", "skin"], help="sets that it is trained on")
    parser.add_argument("--epochs", type=int, default=30, help="of Ultralytics, whose default is 100")
    parser.add_argument(
        "--tools",
        nargs="*",
        default=list(PRESETS),
        choices=list(PRESETS),
        help="NNCF is always used: where it lives, the clock runs too",
    )
    parser.add_argument("--quick", action="store_true", help=f"without the slow presets {', '.join(SLOW)}")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for all latencies of a set together")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "peers.json")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    tools, missing = {}, {}
    for name in dict.fromkeys([*args.tools, "nncf", *(["ultralytics"] if args.ultralytics else [])]):
        try:
            tools[name] = Tool(name, args.work.resolve())
        except Foreign as error:
            missing[name] = str(error)
            print(f"{name} does not install: {error}", flush=True)
    sets = {}
    for name in args.sets:
        contest = Contest(name, Run.open(args.runs / name / args.repeat), args.work, tools, SLOW if args.quick else ())
        peers = contest.peers(args.epochs, name in args.ultralytics and "ultralytics" in tools)
        logits = {one.name: contest.ask(one, "test") for one in peers}
        load = os.getloadavg()[0]
        sets[name] = figures.of_contest(contest, peers, logits, contest.times(peers, args.seconds), load)
        figures.show(name, sets[name])
    report = {
        "command": _command(args),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "vnni": any("vnni" in one for one in read_hardware().cpu.features),
        "versions": versions(),
        "tools": {name: tool.versions() for name, tool in tools.items()},
        "not_installed": missing,
        "presets_left_out": SLOW if args.quick else (),
        "sets": sets,
    }
    write_json(args.out, report)
    figures.write_page(report, Path(__file__).parent.parent / "docs" / "peers.md")


if __name__ == "__main__":
    main()
