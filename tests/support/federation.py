"""A federation small enough for tests: pictures of two hospitals, and sites that misbehave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import yaml

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset


def recipe(folder: Path, **federated: Any) -> Recipe:
    """The tiny recipe with two rounds."""
    return tiny.recipe(
        folder,
        data={"split_column": "split", "subgroup_columns": ["hospital"]},
        train={"frozen_epochs": 0, "epochs": 1, "batch_size": 8, "ema": 0.0},
        federated={"rounds": 2, "wait_minutes": 5, **federated},
    )


def write_hospitals(folder: Path, hospitals: int = 3, patients: int = 60) -> None:
    """Pictures with a column ``hospital``; every one has both classes in every split."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = tiny.with_splits(tiny.write_set(folder, patients=patients, per_patient=1))
    for entry in entries:
        entry["hospital"] = f"h{int(entry['patient_id'][1:]) // 10 % hospitals}"
    tiny.write_table(folder, entries)


def parts_of(settings: Recipe, folder: Path, hospitals: int = 3) -> dict[str, Dataset]:
    """The data set read, and divided by hospital."""
    build_dataset(settings, folder)
    data = load_dataset(folder, settings.task.kind, settings.preprocess)
    homes = np.array([groups["hospital"] for groups in data.subgroups])
    return {f"h{number}": data.take(np.flatnonzero(homes == f"h{number}")) for number in range(hospitals)}


def spoiled(app: Callable[..., Any], spoil: Callable[[Any], None]) -> Callable[..., Any]:
    """An app whose updates are changed on their way, and nothing else of it."""

    def call(message: Any, context: Any) -> Any:
        reply = app(message, context)
        if message.metadata.message_type == "train" and not reply.has_error():
            spoil(reply)
        return reply

    return call


def stopping(app: Callable[..., Any], number: int) -> Callable[..., Any]:
    """An app at which somebody presses Ctrl-C in round `number`."""

    def call(message: Any, context: Any) -> Any:
        if message.metadata.message_type == "train" and message.content["config"]["round"] == number:
            raise KeyboardInterrupt
        return app(message, context)

    return call


def start(folder: Path, log: str, *arguments: str) -> subprocess.Popen[bytes]:
    """``edgedx federated ARGUMENTS`` as a process of its own; what it says is in ``LOG.txt``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / f"{log}.txt").open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "edgedx", "federated", *arguments], stdout=stream, stderr=stream, env=environment
        )


def start_server(places: Path, folder: Path, address: str, **federated: Any) -> subprocess.Popen[bytes]:
    """A server for the sites in ``PLACES/sites``, with the certificate there; its run is ``FOLDER/server``."""
    return start(
        folder, "server", "server", recipe_file(places / "north", folder, **federated), "--keys",
        str(places / "sites"), "--tls-certificate", str(places / "127.0.0.1.pem"), "--tls-key",
        str(places / "127.0.0.1.key"), "--listen", address, "--json", "--out", str(folder / "server"),
    )  # fmt: skip


def start_site(places: Path, folder: Path, address: str, name: str, **federated: Any) -> subprocess.Popen[bytes]:
    """The site whose images are in ``PLACES/NAME``; its run is ``FOLDER/NAME``."""
    return start(
        folder, name, "site", recipe_file(places / name, folder, **federated), "--server", address, "--ca",
        str(places / "127.0.0.1.pem"), "--site-key", str(places / f"{name}.key"), "--out", str(folder / name),
    )  # fmt: skip


def recipe_file(home: Path, folder: Path, **federated: Any) -> str:
    """The recipe of a site as a file."""
    path = folder / f"{home.name}.yaml"
    path.write_text(yaml.safe_dump(recipe(home, **federated).model_dump(mode="json")))
    return str(path)


def wait_for(path: Path, sentence: str, seconds: float = 240) -> None:
    """Until a process has said so."""
    until = time.monotonic() + seconds
    while sentence not in path.read_text(errors="replace"):
        assert time.monotonic() < until, path.read_text(errors="replace")
        time.sleep(0.2)
