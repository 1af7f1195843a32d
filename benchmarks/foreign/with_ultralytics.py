"""Ultralytics' classifier, trained and exported as it comes: FOLDER MODEL.yaml SIZE EPOCHS SEED TARGET.

FOLDER has train/CLASS/*.png and val/CLASS/*.png. TARGET.onnx is its ONNX export, TARGET-int8.onnx its INT8 one, which
calibrates on val, its default. Only what has to be said is said: epochs, size, seed, random weights (its own cannot be
fetched here), no loader processes and no pictures of the training. All else, augmentation, optimiser, schedule, the
choice of the epoch, is its default.
"""

import os
import shutil
import sys
from pathlib import Path

folder, model, size, epochs, seed, target = sys.argv[1:]
out = Path(target).parent
# It neither asks the network, nor installs by itself, nor keeps settings in the home of whoever runs this.
os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(out)}

from ultralytics import YOLO  # noqa: E402

shutil.rmtree(out / "ultralytics-run", ignore_errors=True)
asked = {"epochs": int(epochs), "imgsz": int(size), "seed": int(seed), "workers": 0, "plots": False, "device": "cpu"}
YOLO(model, task="classify").train(data=folder, project=str(out), name="ultralytics-run", pretrained=False, **asked)
best = out / "ultralytics-run" / "weights" / "best.pt"
Path(YOLO(best).export(format="onnx", imgsz=int(size), device="cpu")).replace(f"{target}.onnx")
made = YOLO(best).export(format="onnx", quantize=8, data=folder, imgsz=int(size), device="cpu")
Path(made).replace(f"{target}-int8.onnx")
