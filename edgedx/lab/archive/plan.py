"""What an archive's folder was begun for: the same files, bundle and cut each time it is gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgedx.core.errors import DataError
from edgedx.core.files import read_json, write_json
from edgedx.core.strict import Strict

PLAN, PARTS = "archive.json", "parts"


class Plan(Strict):
    """``archive.json`` of the folder."""

    schema_version: Literal[1] = 1
    source: str = Field(description="Folder, CSV or PACS that was listed.")
    files: int = Field(ge=0, description="Files that were listed.")
    size: int = Field(ge=1, description="Files of a shard.")
    bundle_path: str = Field(description="Where the bundle lies, for every node.")
    bundle: str = Field(description="Its digest.")
    variant: str = Field(description="Model of the bundle that runs.")
    operating_point: str | None = Field(None, description="The bundle's first, unless named.")

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.files // self.size)


def part_of(out: Path, number: int) -> Path:
    """The part of the table that a shard becomes."""
    return out / PARTS / f"{number:06d}.parquet"


def read_plan(out: Path) -> Plan:
    """The plan of a folder.

    Raises
    ------
    DataError
        It is damaged, or of another version.
    """
    try:
        return Plan.model_validate(read_json(out / PLAN))
    except ValidationError as error:
        raise DataError(f"{out / PLAN} is not of this version of edgedx", next_step="give another --out") from error


def write_plan(out: Path, plan: Plan) -> None:
    """Keep a plan."""
    write_json(out / PLAN, plan.model_dump(mode="json"))
