"""Where a device keeps what it knows of its fleet, and whom it is: files below ROOT/fleet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgedx.core.errors import GateRefused, InputOutputError
from edgedx.core.files import read_regular, write_json
from edgedx.core.strict import Strict
from edgedx.core.text import command_line

from .terms import BOX_NAME

MAX_ROOT_BYTES = 512_000


class Box(Strict):
    """box.json: the name of this device."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=BOX_NAME)


class Refusal(Strict):
    """A release that did not pass here, and what might change that."""

    title: str
    why: str
    at: str
    keys: list[str] = Field(description="Keys pinned then.")
    edgedx: str


class Record(Strict):
    """record.json: what `install --from` and `fleet status` did last. Lost, it costs a download, nothing else."""

    schema_version: Literal[1] = 1
    asked: str = Field("", description="When a repository was last asked; ISO 8601 UTC, display only.")
    outcome: str = Field("", description="Of that; see `update.OUTCOMES`.")
    root_version: int | None = None
    timestamp_version: int | None = Field(None, description="Freshest metadata seen.")
    expires: str = Field("", description="Until when those are fresh.")
    offered: str = Field("", description="Version of the newest release for this device.")
    refused: dict[str, Refusal] = Field({}, description="By SHA-256 of the bundle file.")
    sequence: int = Field(0, ge=0, description="Of the last status that was made.")


def folder(root: Path) -> Path:
    """All of it."""
    return root / "fleet"


def root_file(root: Path) -> Path:
    """The pinned root.json."""
    return folder(root) / "root.json"


def metadata_folder(root: Path) -> Path:
    """What python-tuf keeps: the metadata that were verified last."""
    return folder(root) / "metadata"


def downloads(root: Path) -> Path:
    """What is being fetched, by SHA-256."""
    return folder(root) / "downloads"


def read_pinned_root(root: Path) -> bytes:
    """The root.json that this device trusts.

    Raises
    ------
    GateRefused
        None is pinned.
    """
    path = root_file(root)
    if not os.path.lexists(path):
        raise GateRefused(
            f"{root} trusts no repository yet, so nothing says whose updates it may take",
            next_step=f"{command_line('fleet', 'trust', 'ROOT.json', '--root', root, '--box', 'NAME')}, with the "
            "metadata/1.root.json of your repository",
        )
    return read_regular(path, MAX_ROOT_BYTES, follow=False)


def read_box(root: Path) -> Box:
    """Name of this device.

    Raises
    ------
    GateRefused
        It has none yet.
    InputOutputError
        Damaged.
    """
    path = folder(root) / "box.json"
    if not os.path.lexists(path):
        read_pinned_root(root)  # for its error, which says what to do
        raise GateRefused(f"{path} is gone", next_step="run `edgedx fleet trust` again, with the name of this device")
    try:
        return Box.model_validate_json(read_regular(path, 1 << 14, follow=False))
    except ValidationError as error:
        raise InputOutputError(
            f"{path} is damaged", next_step="run `edgedx fleet trust` again, with its name"
        ) from error


def read_record(root: Path) -> Record:
    """What was done last; an empty record where that is missing or damaged."""
    try:
        return Record.model_validate_json(read_regular(folder(root) / "record.json", 1 << 20, follow=False))
    except (InputOutputError, ValidationError):
        return Record()


def write_record(root: Path, record: Record) -> None:
    """Replace it durably."""
    write_json(folder(root) / "record.json", record.model_dump(mode="json"))
