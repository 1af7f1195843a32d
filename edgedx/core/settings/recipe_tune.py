"""The part of the recipe about `edgedx tune`: which keys are tried, and with which values."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from edgedx.core.errors import RecipeError

from .recipe_data import Section

Value = bool | int | float | str
TUNED = ("model", "train", "augment")
"""Sections whose keys may be tuned: they decide the training, and leave the data set as it is."""
UNTUNED = {
    "train.seed": "a seed that is chosen is luck that is reported",
    "train.precision": "it decides the speed",
    "train.compile": "it decides the speed",
    "train.checkpoint_minutes": "it decides no model",
}
"""Keys of these sections that may not, and why."""
_MOST = 100_000


class Parameter(Section):
    """Values of one key: some choices, or a range with both ends."""

    choices: list[Value] = Field([], description="Values to try; instead of a range.")
    low: int | float | None = Field(None, description="Least value.")
    high: int | float | None = Field(None, description="Greatest value.")
    step: int | float | None = Field(None, gt=0, description="Distance of values; a grid needs it.")
    log: bool = Field(False, description="Draw evenly by order of magnitude.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        ends = (self.low, self.high)
        if self.choices:
            if ends != (None, None) or self.step is not None or self.log:
                raise ValueError("choices: give either choices or a range")
            if len({(type(value), value) for value in self.choices}) != len(self.choices):
                raise ValueError("choices: a value stands twice")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("low, high: a range needs both, the lower first; or give choices")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: only for a range above 0 without step")
        if self.step and abs((steps := (self.high - self.low) / self.step) - round(steps)) > 1e-9:
            raise ValueError("step: does not lead from low to high")
        return self

    def fitted(self, value: object) -> Parameter:
        """The same for a key whose value is `value`: a range of floats for a float, however its ends are written.

        Raises
        ------
        ValueError
            `value` is no number, or a whole one and the range is not of whole numbers.
        """
        if self.choices:
            return self
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("has no range; give choices")
        if isinstance(value, int) and not self.whole:
            raise ValueError("is a whole number: low, high and step are, too")
        if isinstance(value, int):
            return self
        ends = {name: getattr(self, name) for name in ("low", "high", "step")}
        return self.model_copy(update={name: None if end is None else float(end) for name, end in ends.items()})

    @property
    def whole(self) -> bool:
        """Whether a range is of whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def grid(self) -> list[Value] | None:
        """All values in order, or None where there are infinitely many."""
        if self.choices:
            return list(self.choices)
        assert self.low is not None and self.high is not None
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            return None
        count = min(math.floor((self.high - self.low) / step + 1e-9) + 1, _MOST)
        values = (self.low + number * step for number in range(count))
        return [value if isinstance(value, int) else round(value, 12) for value in values]  # no 0.30000000000000004

    def holds(self, value: object) -> bool:
        """Whether `value` is one of them."""
        values = self.grid()
        if values is not None:
            return value in values
        assert self.low is not None and self.high is not None
        return isinstance(value, (int, float)) and self.low <= value <= self.high


class Tune(Section):
    """What `edgedx tune` tries. It changes no run: the best recipe is written as a file of its own."""

    space: dict[str, Parameter] = Field(
        {}, description=f"Keys of the recipe, of {', '.join(TUNED)}, each with choices or a range."
    )
    sampler: Literal["tpe", "grid"] = Field(
        "tpe", description="tpe: tree-structured Parzen estimator (Bergstra et al. 2011); grid: every combination once."
    )
    trials: int = Field(30, ge=1, description="Trainings that end or are pruned; a grid may need more, and takes them.")
    startup: int = Field(8, ge=1, description="Trials at random before tpe learns and anything is pruned.")
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median",
        description="median: stop a trial whose val AUC after an epoch is below the median of those before it.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for key in self.space:
            if key.partition(".")[0] not in TUNED:
                raise ValueError(f"space: {key} cannot be tuned, only keys of {', '.join(TUNED)}")
            if key in UNTUNED:
                raise ValueError(f"space: {key} cannot be tuned: {UNTUNED[key]}")
        return self


def fit_space(tune: Tune, plain: Mapping[str, Any], validate: Callable[[dict[str, Any]], object]) -> Tune:
    """Check a space against its recipe, and make its ranges of the kind of number that their keys are.

    Parameters
    ----------
    plain : mapping
        The recipe as it is dumped, without this section.
    validate : callable
        Raises RecipeError where a mapping is no recipe; it names unknown keys and wrong values.

    Raises
    ------
    RecipeError
        A key or a value is not one of the recipe's.
    """
    space = {}
    for key, parameter in tune.space.items():
        for value in parameter.choices or (parameter.low, parameter.high):
            validate(lay(plain, {key: value}))
        try:
            space[key] = parameter.fitted(value_at(plain, key))
        except ValueError as error:
            raise RecipeError(f"tune.space: {key} {error}", next_step="see docs/tuning.md") from error
    return tune.model_copy(update={"space": space})


def lay(plain: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a dumped recipe with dotted keys set.

    Raises
    ------
    RecipeError
        A key leads through what is no section.
    """
    raw = copy.deepcopy(dict(plain))
    for key, value in values.items():
        *sections, last = key.split(".")
        node: Any = raw
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise RecipeError(f"tune.space: {key}: {section} is not a section")
        node[last] = value
    return raw


def value_at(plain: Mapping[str, Any], key: str) -> Any:
    """What a dumped recipe says of a dotted key."""
    node: Any = plain
    for section in key.split("."):
        node = node[section]
    return node
