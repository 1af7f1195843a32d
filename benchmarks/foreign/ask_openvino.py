"""Answers by OpenVINO, on one thread: MODEL IMAGES.npy ANSWERS.npy. NNCF writes its INT8 for it."""

import sys

import numpy as np
import openvino

model, images, answers = sys.argv[1:]
compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
np.save(answers, np.concatenate([compiled(image[None])[0] for image in np.load(images)]))
