"""What server and sites must agree on, and the model that a federation begins with."""

from __future__ import annotations

import torch
from torch import nn

from edgedx.core.errors import RecipeError
from edgedx.core.files import canonical_json, sha256_bytes
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.network.backbone import build_model, refuse_unexportable
from edgedx.lab.network.weights import load_weights
from edgedx.lab.run.stage import stage_settings

AGREED = ("task", "preprocess", "augment", "model", "train", "federated")
"""Sections of the recipe; where a site's data lie and how they are read is its own affair."""
_OWN = {"model": {"weights"}, "federated": {"wait_minutes"}}
"""Fields in them that may differ: the server alone loads pretrained weights."""


def agreement(recipe: Recipe) -> str:
    """Digest of what server and sites must agree on."""
    settings = stage_settings(recipe, *AGREED)
    for section, names in _OWN.items():
        settings[section] = {key: value for key, value in settings[section].items() if key not in names}
    del settings["gate"]
    return sha256_bytes(canonical_json(settings))


def empty_model(recipe: Recipe) -> nn.Module:
    """The recipe's network with random weights, for what the server sends.

    Raises
    ------
    RecipeError
        It has columns beside the image: each site would encode them by figures of its own.
    """
    if recipe.columns.use:
        raise RecipeError(
            "columns.use: federated training reads images alone, as each site would scale columns by its own figures",
            next_step="--set columns.use={}",
        )
    return build_model(
        recipe.model.backbone,
        len(recipe.task.classes),
        recipe.preprocess,
        dropout=recipe.model.dropout,
        stochastic_depth=recipe.model.stochastic_depth,
    )


def first_model(recipe: Recipe) -> tuple[nn.Module, str]:
    """What the server sends in the first round, and where its weights came from."""
    refuse_unexportable(recipe.model.backbone, len(recipe.task.classes), recipe.preprocess)
    torch.manual_seed(recipe.train.seed)
    model = empty_model(recipe)
    return model, load_weights(model, recipe.model.backbone, recipe.model.weights)
