"""The recipe's section `update`: how a model learns from what a clinic answered, and what an update must hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from .recipe_data import Section


class Update(Section):
    """How a trained model goes on learning from answers of clinics: `edgedx update`."""

    method: Literal["rehearsal", "distil", "naive", "ewc"] = Field(
        "rehearsal",
        description="rehearsal: old and new images together; distil: new images alone, held to the old teacher's "
        "answers (Li and Hoiem 2016), where old images may not be kept; naive: new images alone; ewc: those, held to "
        "the old weights (Kirkpatrick et al. 2017). The last two are for comparison.",
    )
    epochs: float = Field(4.0, gt=0, description="Epochs of the teacher on what its method shows it.")
    learning_rate: float = Field(3e-4, gt=0, description="At the start; the teacher is trained already.")
    new_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Rehearsal: share of new images in an epoch, reached by showing each several times, ten at most.",
    )
    distill_weight: float = Field(
        0.5, ge=0, le=1, description="Distil: share of the old teacher's loss; the rest is the labels'."
    )
    temperature: float = Field(2.0, gt=0, description="Distil: of both softened distributions.")
    ewc_weight: float = Field(
        1000.0, ge=0, description="EWC: weight of the distance from the old weights, each by its Fisher information."
    )
    val_share: float = Field(0.15, gt=0, lt=1, description="Share of new patients that thresholds are chosen on.")
    judge_share: float = Field(
        0.35,
        gt=0,
        lt=1,
        description="Share of new patients that are never learned from and decide whether it may ship.",
    )
    least_judged: int = Field(
        10, ge=4, description="Least number of new images of each class to judge on; with fewer there is no update."
    )
    suspects: Literal["keep", "leave-out"] = Field(
        "keep",
        description="Labels that are likely wrong are listed; leave-out: and not learned from. They always judge.",
    )
    max_gap_widening: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Greatest growth of the largest gap between two subgroups, in AUC, sensitivity or specificity.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.val_share + self.judge_share >= 1:
            raise ValueError("val_share, judge_share: together below 1, for what is left is learned from")
        return self
