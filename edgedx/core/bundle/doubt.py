"""What a bundle knows about its own limits; the ``doubt`` section of its manifest."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgedx.core.stats.conformal import SetThresholds
from edgedx.core.stats.ood import OodLimits


class Doubt(BaseModel):
    """By variant, because each was fitted on its own answers. All empty in bundles of before November 2026."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ood: dict[str, OodLimits] = Field({}, description="By variant: when an image is unlike the training images.")
    sets: dict[str, SetThresholds] = Field({}, description="By variant: thresholds of conformal prediction sets.")
    cam: dict[str, tuple[int, int]] = Field(
        {}, description="By variant: height and width of its third output, the class activation maps."
    )
    missing: dict[Literal["ood", "sets", "cam"], str] = Field({}, description="What was left out, and why.")
