"""Labels as targets of a loss, and what each class weighs."""

from __future__ import annotations

import numpy as np

from edgedx.core.settings.recipe_sections import Task as TaskSpec
from edgedx.lab.data.dataset import Dataset


def targets_of(labels: np.ndarray, task: TaskSpec) -> np.ndarray:
    """Labels to float32 targets of shape (N, K): one-hot, or 0/1/NaN as they are for multilabel tasks."""
    if task.kind == "multilabel":
        return labels.astype(np.float32)
    return np.eye(len(task.classes), dtype=np.float32)[labels]


def class_shares(data: Dataset, task: TaskSpec) -> np.ndarray:
    """Share of each class, shape (K,), of classes that exclude each other; none is 0."""
    counts = np.maximum(targets_of(data.labels, task).sum(axis=0), 1)
    return np.asarray(counts / counts.sum(), np.float32)


def class_weights(data: Dataset, task: TaskSpec) -> np.ndarray:
    """Weights of shape (K,), inverse to class frequency.

    For multilabel tasks they weigh the positives of each finding and are capped at 20, because a rare finding would
    otherwise drown the rest.
    """
    targets = targets_of(data.labels, task)
    known = np.maximum((~np.isnan(targets)).sum(axis=0), 1)
    positives = np.maximum(np.nansum(targets, axis=0), 1)
    if task.kind == "multilabel":
        return np.minimum((known - positives) / positives, 20.0).astype(np.float32)
    return (len(data) / (len(task.classes) * positives)).astype(np.float32)
