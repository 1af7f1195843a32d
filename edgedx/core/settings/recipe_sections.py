"""The sections of a recipe, each with the meaning, unit and bounds of its fields."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from edgedx.core.stats.points import parse_point

from .recipe_data import Patches, Reading, Source
from .recipe_data import Section as _Section


class Task(_Section):
    """What is asked of an image."""

    kind: Literal["binary", "multiclass", "multilabel"] = Field(
        description="binary: two classes, one of them the finding; multiclass: one of several; multilabel: any number of findings."
    )
    classes: list[str] = Field(min_length=1, description="Class names in the order of the logits.")
    positive: str | None = Field(
        None, description="The finding of a binary task; sensitivity and specificity are of it."
    )
    ordered: bool = Field(
        False,
        description="Classes are grades in rising order: quadratically weighted kappa is told too (multiclass).",
    )

    LATER = frozenset({"ordered"})

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name stands twice")
        if self.kind == "binary" and (len(self.classes) != 2 or self.positive not in self.classes):
            raise ValueError("a binary task has two classes, and positive names one of them")
        if self.kind != "binary" and self.positive is not None:
            raise ValueError("positive: only for binary tasks")
        if self.kind == "multiclass" and len(self.classes) < 3:
            raise ValueError("a multiclass task has three classes or more; for two, use kind: binary")
        if self.ordered and self.kind != "multiclass":
            raise ValueError("ordered: only for multiclass tasks")
        return self

    @property
    def positive_index(self) -> int:
        """Index of the positive class; 1 where none is named."""
        return self.classes.index(self.positive) if self.positive else 1


class Data(Reading):
    """Where the images and labels are, and how they are divided."""

    source: Source = Field(
        description="folders: one folder a class, optionally below train/val/test; csv: a table of images, raster or DICOM; "
        "medmnist: an npz of MedMNIST; phantom: generated DICOM files; else the name of a public set, read as published."
    )
    path: str | None = Field(
        None, description="File or folder, relative to EDGEDX_DATA or the working folder; absolute is taken as it is."
    )
    download: str | None = Field(None, description="Address of the official file, used only by `edgedx demo`.")
    md5: str | None = Field(None, description="MD5 of the official download, hex.")
    csv: str = Field("labels.csv", description="Table below path, for source csv.")
    image_column: str = Field("image", description="Column with the image's path, relative to path.")
    label_column: str = Field(
        "label", description="Column with the class, or classes joined by '|' for multilabel tasks."
    )
    label_names: dict[str, str] = Field(
        {},
        description="Labels as the source spells them to classes of the task, several to one too; for multilabel tasks "
        "also to none. Labels that are not named here are taken as they are.",
    )
    label_columns: list[str] = Field(
        [], description="Multilabel: one 0/1 column per class instead of label_column; empty cells are unknown."
    )
    patient_column: str | None = Field(
        "patient_id",
        description="Column with the patient; null where each image is its own. Public sets bring theirs; null puts it aside.",
    )
    split_column: str | None = Field(
        None, description="Column with train, val or test, where the table gives the split."
    )
    subgroup_columns: list[str] = Field(
        [], description="Columns carried along for subgroup results (sex, age, view, device ...)."
    )
    required_columns: list[str] = Field(
        [], description="Columns that must be filled; rows without are excluded and counted."
    )
    fractions: tuple[float, float, float] = Field(
        (0.70, 0.15, 0.15), description="Shares of train, val and test where the source gives no split."
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="Cross-validation: patients are drawn into so many folds, and the source's own split is put aside.",
    )
    fold: int = Field(0, ge=0, description="Which fold is test, from 0; val is drawn from the others, by fractions.")
    min_side: int = Field(16, ge=1, description="Images with a shorter side are excluded, pixels.")
    ambiguous_labels: list[str] = Field(
        [], description="Labels that mean the reader was not sure; such rows are excluded and counted."
    )
    shared_content: Literal["refuse", "drop-from-train"] = Field(
        "refuse",
        description="What to do with the same image in two given splits: refuse the data set, or keep it out of train.",
    )
    patches: Patches = Patches()
    phantom_patients: int = Field(400, ge=12, description="Patients to generate, for source phantom.")
    seed: int = Field(0, description="Of the split and of the phantoms.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if abs(sum(self.fractions) - 1.0) > 1e-6 or min(self.fractions) <= 0:
            raise ValueError("fractions: three positive shares that add up to 1")
        if self.source != "phantom" and not self.path:
            raise ValueError(f"path: needed for source {self.source}")
        if self.fold >= (self.folds or 1):
            raise ValueError(f"fold: there are {self.folds or 1} folds, counted from 0")
        return self


class Student(_Section):
    """The small model that ships."""

    backbone: str = Field("same", description="same: the teacher's own, pruned; or a timm model name.")
    weights: str = Field(
        "teacher", description="teacher: start from the teacher's (same backbone only); else as model.weights."
    )
    macs: float = Field(
        0.35, gt=0, le=1, description="Share of multiply-accumulates that pruning leaves; 1 is no pruning."
    )
    max_layer_pruning: float = Field(0.7, gt=0, lt=1, description="Greatest share of one layer's channels that may go.")
    round_to: int = Field(8, ge=1, description="Channel counts stay multiples of this, for vector units.")
    steps: int = Field(3, ge=1, description="Pruning steps, with recovery between.")
    recovery_epochs: float = Field(0.3, ge=0, description="Distillation epochs after each step but the last.")
    importance_batches: int = Field(8, ge=1, description="Batches whose gradients rank the channels (Taylor).")
    method: Literal["kd", "dkd"] = Field(
        "kd",
        description="kd: Hinton et al. 2015; dkd: decoupled (Zhao et al. 2022), only for multiclass tasks, else kd is used.",
    )
    temperature: float = Field(
        4.0, gt=0, description="Of the softened distributions in distillation (Hinton et al. 2015)."
    )
    temperatures: list[float] = Field(
        [],
        description="Temperatures to try from the same pruned start, the best on val kept instead of temperature; empty: none.",
    )
    trial_share: float = Field(0.2, gt=0, le=1, description="Share of epochs that each of temperatures is tried for.")
    distill_weight: float = Field(0.9, ge=0, le=1, description="Share of the teacher's loss; the rest is the labels'.")
    dkd_alpha: float = Field(1.0, ge=0, description="DKD: weight of the target class against all others.")
    dkd_beta: float = Field(8.0, ge=0, description="DKD: weight of the others among themselves.")
    dkd_warmup_epochs: float = Field(1.0, ge=0, description="DKD: linear rise of its loss, epochs.")
    teacher_flips: bool = Field(
        False,
        description="Learn from the mean of the teacher's answers to a view and to its mirror image, as far as augment "
        "mirrors; the student itself sees the view alone.",
    )
    LATER = frozenset({"teacher_flips"})
    feature: Literal["none", "crd"] = Field(
        "none",
        description="crd: pooled features too, contrastively (Tian et al. 2020; InfoNCE with a queue, see lab/train/contrast.py).",
    )
    feature_weight: float = Field(0.5, ge=0, description="Of the loss on features, added to the others.")
    feature_memory: int = Field(
        1024, ge=0, description="Earlier teacher embeddings kept as negatives; 0: the batch alone."
    )
    epochs: int = Field(6, ge=1, description="Distillation epochs of the final student.")
    learning_rate: float = Field(3e-3, gt=0, description="At the start of distillation.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.temperatures)) != len(self.temperatures):
            raise ValueError("temperatures: a value stands twice")
        if any(value <= 0 for value in self.temperatures):
            raise ValueError("temperatures: greater than 0")
        return self


class Search(_Section):
    """What `edgedx compress` tries when it is given a budget."""

    backbones: list[str] = Field(
        [], description="timm models to try as students, in this order, when student.backbone cannot hold the budget."
    )
    tries: int = Field(
        4,
        ge=1,
        description="Students of one backbone to train when only accuracy is limited and the smallest is sought.",
    )
    least_macs: float = Field(
        0.12, gt=0, le=1, description="Smallest share of a backbone's multiply-accumulates to prune to."
    )


class Quantize(_Section):
    """FP32 to INT8, after training."""

    calibration_images: int = Field(512, ge=8, description="Images of the training split that set the ranges.")
    calibrators: list[Literal["minmax", "percentile", "mse"]] = Field(
        ["minmax", "percentile", "mse"],
        min_length=1,
        description="Ways to set the ranges; all are tried and the nearest to FP32 on val is kept.",
    )
    percentile: float = Field(99.99, gt=50, le=100, description="Of activations, for the percentile calibrator.")
    bias_correction: bool = Field(
        True, description="Take the mean shift that rounding causes out of the biases, where val gets nearer to FP32."
    )
    max_noise: float = Field(
        0.1,
        gt=0,
        description="Greatest noise of val logits against FP32, root mean square over spread; AUC on val hides shifts.",
    )
    max_float_share: float = Field(
        0.25, ge=0, le=1, description="Greatest share of multiply-accumulates that may go back to float to reach it."
    )
    float_stem: int = Field(0, ge=0, description="First convolutions that stay in float whatever they cost.")
    keep_float: list[str] = Field([], description="Layers that stay in float, as the report calls them.")
    qat: Literal["auto", "always", "never"] = Field(
        "auto", description="Quantization-aware training; auto: where the steps before it miss max_noise or the gate."
    )
    qat_epochs: float = Field(1.0, gt=0, description="Epochs of it, distilled from the teacher.")
    qat_learning_rate: float = Field(5e-5, gt=0, description="Of it; the network only has to get used to rounding.")
    max_fused_difference: float = Field(
        0.01, gt=0, description="Greatest loss of val AUC from float-simulated to fused kernels; more means saturation."
    )


class Gate(_Section):
    """What must hold for the artifact that ships."""

    max_auc_drop: float = Field(
        0.02, ge=0, lt=1, description="Greatest loss of AUC from teacher to shipped artifact, on split."
    )
    rule: Literal["non-inferior", "value"] = Field(
        "non-inferior",
        description="non-inferior: the upper end of the one-sided 95 % interval of a loss is within its limit; value: the "
        "loss itself is, which few images can show by luck.",
    )
    max_sensitivity_drop: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Greatest loss of sensitivity, of any class, at the first operating point; null: told, not judged.",
    )
    max_ece: float | None = Field(
        None, gt=0, le=1, description="Greatest calibration error (ECE) of the artifact; null: told, not judged."
    )
    least_auc: float | None = Field(
        None, gt=0.5, le=1, description="Least AUC of the artifact on split; null: better than chance is enough."
    )
    split: Literal["val", "test"] = Field("val", description="The split that decides; test is for reporting.")
    points: list[str] = Field(
        ["youden", "sensitivity-0.95"],
        min_length=1,
        description="Operating points to store: youden, sensitivity-X, specificity-X, argmax. The first is used.",
    )
    golden_images: int = Field(
        8, ge=1, le=64, description="Validation images, without headers, put into the bundle to prove the device."
    )

    @field_validator("points")
    @classmethod
    def _points(cls, names: list[str]) -> list[str]:
        for name in names:
            parse_point(name)
        if len(set(names)) != len(names):
            raise ValueError("an operating point stands twice")
        return names


class Bench(_Section):
    """What the student is compared with."""

    full_model: str = Field(
        "resnet50", description="timm model for the latency of a full model at the same input size."
    )
    threads: int = Field(1, ge=1, description="CPU threads of one inference.")
    seconds: float = Field(3.0, gt=0, description="Time to measure each model, after warm-up.")
