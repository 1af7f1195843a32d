"""The sections of a recipe about training: what images go through, the network, how its weights are learned."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from .recipe_data import Section as _Section


class Augment(_Section):
    """Random changes that leave the label as it is. Each is drawn evenly from minus to plus its value."""

    rotation: float = Field(10.0, ge=0, le=180, description="Degrees.")
    zoom: float = Field(0.1, ge=0, lt=1, description="Share of the size.")
    shift: float = Field(0.06, ge=0, lt=1, description="Share of the side.")
    intensity: float = Field(0.2, ge=0, lt=1, description="Contrast and gamma; half of it for brightness.")
    laterality_matters: bool = Field(
        True, description="True for anatomy with a left and a right (chest); forbids the horizontal flip."
    )
    flip_horizontal: bool = Field(
        False, description="Mirror half of the images; only where laterality does not matter."
    )
    flip_vertical: bool = Field(False, description="Turn half of the images upside down (skin, histology).")
    mixup: float = Field(
        0.0,
        ge=0,
        description="Alpha of the Beta distribution that mixes pairs of images (Zhang et al. 2018); 0 is off.",
    )
    roi: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Chance that a view of an image with a box (data.roi_columns) shows the box alone, enlarged, with "
        "a margin of a quarter of its sides.",
    )
    LATER = frozenset({"roi"})

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.flip_horizontal and self.laterality_matters:
            raise ValueError("flip_horizontal: set laterality_matters: false first, if that is true of this anatomy")
        return self


class NetworkSettings(_Section):
    """The full model."""

    backbone: str = Field(description="A timm model name.")
    weights: str = Field(
        "auto",
        description="auto: packaged weights, else timm's hub; none: from scratch; or a .safetensors or .pth file.",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Before the classifier, probability.")
    stochastic_depth: float = Field(
        0.1, ge=0, lt=1, description="Residual blocks skipped in training, probability; where the backbone has them."
    )


class Train(_Section):
    """How weights are learned."""

    frozen_epochs: int = Field(
        1, ge=0, description="Phase 1: epochs with a frozen base and a new head; skipped from scratch."
    )
    epochs: int = Field(
        6,
        ge=0,
        description="Phase 2: epochs with everything unfrozen; 0 leaves the base as it was (feature extraction).",
    )
    batch_size: int = Field(64, ge=2, description="Images a step, over all processes.")
    optimizer: Literal["adamw", "sgd", "rmsprop"] = Field("adamw", description="Update rule.")
    frozen_learning_rate: float = Field(3e-3, gt=0, description="Of the head in phase 1.")
    learning_rate: float = Field(
        1e-3, gt=0, description="Of the head in phase 2; deeper layers get less, see layer_decay."
    )
    layer_decay: float = Field(
        0.95, gt=0, le=1, description="Factor on the learning rate from each stage of the backbone to the one below."
    )
    weight_decay: float = Field(0.02, ge=0, description="Decoupled for adamw.")
    warmup_epochs: float = Field(
        0.5, ge=0, description="Linear rise of the learning rate; then it falls along a cosine."
    )
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Share of the target spread over all classes.")
    imbalance: Literal["loss", "sampler", "balanced-softmax", "none"] = Field(
        "loss",
        description="loss: classes weighted by inverse frequency; sampler: drawn evenly; balanced-softmax: the "
        "logarithm of each class's share is added to its logit while training (Ren et al. 2020), not for multilabel.",
    )
    focal: float = Field(
        0.0,
        ge=0,
        le=5,
        description="Gamma of the focal loss, which gives easy images less weight (Lin et al. 2017); 0 is off.",
    )
    LATER = frozenset({"focal"})
    ema: float = Field(
        0.99, ge=0, lt=1, description="Decay of the running mean of weights, which is what is kept; 0 is off."
    )
    clip_norm: float = Field(1.0, ge=0, description="Greatest gradient norm; 0 is off.")
    patience: int = Field(0, ge=0, description="Stop phase 2 after so many epochs without a better val AUC; 0 is off.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it, else fp32."
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="torch.compile. auto: where the seconds it saves, as measured, are more than the compiling takes; "
        "never on a CPU, where it was slower.",
    )
    checkpoint_minutes: float = Field(
        5.0, gt=0, description="Longest time of work that kill -9 can cost; also saved after each epoch."
    )
    seed: int = Field(0, description="Of initialisation, order, augmentation and dropout.")
    log_to: Literal["none", "tensorboard", "mlflow"] = Field(
        "none",
        description="Also show the learning curves there: TensorBoard's files in the run, or MLflow where "
        "MLFLOW_TRACKING_URI says.",
    )

    @model_validator(mode="before")
    @classmethod
    def _forget(cls, values: Any) -> Any:
        """Runs of before keep ``workers``, the processes that once loaded data."""
        return {key: value for key, value in values.items() if key != "workers"} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.epochs + self.frozen_epochs == 0:
            raise ValueError("epochs, frozen_epochs: one of them above 0")
        return self
