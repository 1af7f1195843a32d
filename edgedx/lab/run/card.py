"""The card of a checkpoint: what a model is, as data beside its weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.columns import FittedColumn
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.points import OperatingPoint

WEIGHTS, CARD = "model.safetensors", "model.json"


class ModelCard(BaseModel):
    """model.json: all that is needed to build the model again, but its weights."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    backbone: str = Field(description="timm name.")
    task: Task
    preprocess: PreprocessSpec
    role: str = Field(description="teacher or student.")
    weights_from: str = Field(description="Where the pretrained weights came from.")
    pruning: list[Any] = Field([], description="History of torch-pruning; replayed, it gives the same structure.")
    columns: list[FittedColumn] = Field([], description="What the model is told beside the image, and how encoded.")
    temperature: float = Field(1.0, gt=0, description="Fitted on val logits.")
    operating_points: list[OperatingPoint] = []
    metrics: dict[str, float] = {}
    synthetic: bool = False
    sha256: str = Field("", description="Of model.safetensors.")
