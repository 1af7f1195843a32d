"""The space that `edgedx tune` searches, laid over its recipe."""

from __future__ import annotations

from collections.abc import Mapping

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe import Recipe, parse_recipe
from edgedx.core.settings.recipe_tune import Value, lay, value_at

from .study import grid_of


def check_space(recipe: Recipe) -> None:
    """Refuse a space that is empty, or a grid without end; keys and values were checked with the recipe.

    Raises
    ------
    UsageError
        Names the key.
    """
    if not recipe.tune.space:
        raise UsageError(
            f"recipe {recipe.name} declares nothing to tune",
            next_step="add tune.space, for example --set 'tune.space={train.learning_rate: {low: 1.0e-4, high: 1.0e-2, "
            "log: true}}'; docs/tuning.md",
        )
    if recipe.tune.sampler == "grid":
        grid_of(recipe.tune)


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with some keys set, and nothing to tune.

    Raises
    ------
    RecipeError
        The values cannot stand together.
    """
    return parse_recipe(lay(recipe.model_dump(mode="json", exclude={"tune"}), values), f"tune.space of {recipe.name}")


def defaults(recipe: Recipe) -> dict[str, Value]:
    """What the recipe itself says of each key of its space."""
    plain = recipe.model_dump(mode="json")
    return {key: value_at(plain, key) for key in recipe.tune.space}
