"""The pictures of `edgedx explain`: maps side by side, curves, what random weights leave, and how alike models look."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedx.core.heatmap import OPACITY, is_coarse
from edgedx.core.stats.points import label_at
from edgedx.lab.run.plots import COLOURS, GRID, INK, new_figure, save_figure

from .curves import FRACTIONS
from .fidelity import CHANCE
from .methods import METHODS

if TYPE_CHECKING:
    from .explain import Explanation, Key

NOT_FOR_DIAGNOSIS = "not for diagnosis"
_GREY = "#8796a3"
_REGION = "#35d0ba"
_SHORT = {"ig": "integrated\ngradients"}


def draw(explanation: Explanation, folder: Path, pictures: int) -> list[dict[str, str]]:
    """Write all pictures into `folder`, those of an earlier call gone; their names and captions, figures first."""
    for old in folder.glob("image-[0-9]*.png"):
        old.unlink()
    drawn = []
    summaries: tuple[tuple[str, str, Any, Any], ...] = (
        (
            "fidelity",
            f"How alike models look to {explanation.names[0]}, against what is alike anyway",
            fidelity,
            explanation.alike,
        ),
        ("curves", "Probability while pixels go, or come, in the order of each map", curves, explanation.curves),
        ("sanity", "What is left of maps as weights become random", sanity, explanation.sanity),
    )
    for kind, caption, make, there in summaries:
        path = folder / f"{kind}.png"
        path.unlink(missing_ok=True)
        if there:
            save_figure(make(explanation), path)
            drawn.append({"file": path.name, "kind": kind, "caption": caption})
    for position in range(min(pictures, len(explanation.images))):
        path = folder / f"image-{position + 1:03d}.png"
        save_figure(side_by_side(explanation, position), path)
        drawn.append({"file": path.name, "kind": "image", "caption": _caption(explanation, position)})
    return drawn


def _caption(explanation: Explanation, index: int) -> str:
    """Label, then prediction, probability and threshold of the first model."""
    label = f", label {explanation.images.truths[index]}" if explanation.images.truths[index] else ""
    explained = explanation.subjects[0].classes[explanation.classes[index]]
    return (
        f"image {index + 1}{label}; {explanation.names[0]}: {_prediction(explanation, 0, index)}; maps for {explained}"
    )


def _prediction(explanation: Explanation, model: int, index: int) -> str:
    """``opacity, p = 0.93, threshold 0.41``; of several classes the likeliest is decided for."""
    subject, probabilities = explanation.subjects[model], explanation.probabilities[model][index]
    thresholds = subject.points[0].threshold
    decision = label_at(subject.task, subject.classes, subject.positive, thresholds, probabilities)
    shown = subject.positive or subject.classes[explanation.classes[index]]
    limit = f", threshold {thresholds[shown]:.2f}" if shown in thresholds else ""
    return f"{decision}, p({shown}) = {probabilities[subject.classes.index(shown)]:.2f}{limit}"


def is_empty(heat: np.ndarray) -> bool:
    """Whether nothing in a map speaks for the class; laid over the image it could not be told from the image."""
    return not float(np.percentile(heat, 99.5)) > 0


def side_by_side(explanation: Explanation, index: int) -> Any:
    """One image: a column for each model, a row for each method, all in one scale of colours.

    Upright, as models are few and methods many: on a phone, 390 pixels wide, the words are still to be read. Each map
    is shown against its own strongest places, since units differ between methods: colours say where, and never how
    sure.
    """
    methods = [
        method
        for method in explanation.methods
        if any((name, method) in explanation.maps for name in explanation.names)
    ]
    across, down = len(explanation.names), len(methods) + 1
    figure, axes = new_figure(max(1.5 * across + 0.5, 3.4), 1.55 * down + 1.3)
    axes[0].remove()
    canvas = explanation.images.canvases[index]
    picture = canvas.astype(np.float32) / np.iinfo(canvas.dtype).max
    for row, method in enumerate(["", *methods]):
        for column, name in enumerate(explanation.names):
            axis = figure.add_subplot(down, across, row * across + column + 1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if column == 0:
                title = _SHORT.get(method, METHODS[method].title) if method else "input"
                axis.set_ylabel(title, fontsize=8.5, color=INK)
            if not method:
                words = _prediction(explanation, column, index).replace(", ", "\n", 1).replace(", ", "\n")
                axis.set_title(f"{name}\n{words}", fontsize=8, color=INK)
                axis.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
            else:
                _map(axis, picture, explanation, (name, method), index)
            _outline(axis, explanation, index)
    title = f"{_caption(explanation, index)}; {NOT_FOR_DIAGNOSIS}"
    letters = int(14 * figure.get_figwidth())  # so many of this size fit a line
    figure.suptitle(textwrap.fill(title, letters), fontsize=8.5, color=INK)
    _scale(figure)
    return figure


def _map(axis: Any, picture: np.ndarray, explanation: Explanation, key: Key, index: int) -> None:
    """One map over the image, or why there is none."""
    maps = explanation.maps.get(key)
    if maps is None:
        axis.set_aspect("equal")
        axis.set(xlim=(0, 1), ylim=(0, 1))
        why = textwrap.fill(explanation.missing[key], 26)
        axis.text(0.5, 0.5, f"n/a\n{why}", ha="center", va="center", fontsize=6.5, color=_GREY)
        return
    if is_empty(maps[index]):
        axis.imshow(picture * 0.35, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
        text = "empty map:\nnothing speaks\nfor the class"
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, color="white", transform=axis.transAxes)
        return
    axis.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
    # No single pixel sets the scale: with gradients it would leave all others dark.
    strongest = max(float(np.percentile(maps[index], 99.5)), 1e-12)
    shown = np.clip(maps[index] / strongest, 0, 1)
    axis.imshow(shown, cmap="inferno", alpha=_opacity(shown), vmin=0, vmax=1, interpolation="nearest")
    if key in explanation.grids and is_coarse(explanation.grids[key]):
        rows, columns = explanation.grids[key]
        axis.set_xlabel(f"{rows} x {columns} places", fontsize=7, color=INK)


def _outline(axis: Any, explanation: Explanation, index: int) -> None:
    """Where the finding is, as far as it is known."""
    if explanation.regions is not None and explanation.regions.known[index]:
        mask = np.pad(explanation.regions.masks[index], 1)  # closed where it touches the rim
        places = [np.arange(side) - 1 for side in mask.shape]
        axis.contour(places[1], places[0], mask, levels=[0.5], colors=_REGION, linewidths=0.9)


def _scale(figure: Any) -> None:
    import matplotlib.cm as cm
    from matplotlib.colors import Normalize

    bar = figure.colorbar(cm.ScalarMappable(Normalize(0, 1), "inferno"), ax=figure.axes, shrink=0.7, fraction=0.03,
                          pad=0.01, aspect=30, orientation="horizontal", ticks=[0, 1])  # fmt: skip
    bar.ax.set_xticklabels(["none", "most"], fontsize=8, color=INK)
    bar.outline.set_visible(False)


def _opacity(shown: np.ndarray) -> np.ndarray:
    """Faint where the map says little, so that the image stays readable; never so faint that single pixels are lost."""
    return np.asarray((OPACITY + 0.25) * np.sqrt(shown))


def _colour(explanation: Explanation, method: str) -> str:
    return COLOURS[explanation.methods.index(method) % len(COLOURS)] if method in explanation.methods else _GREY


def _title(method: str) -> str:
    return METHODS[method].title if method in METHODS else "random order"


def fidelity(explanation: Explanation) -> Any:
    """A row for each model and method: rank correlation and shared top places, with what is alike anyway as marks."""
    keys = sorted(explanation.alike, key=lambda key: explanation.methods.index(key[1]))
    figure, axes = new_figure(4.8, 1.5 + 0.56 * len(keys), 2)
    stacked = figure.add_gridspec(2, 1)
    for place, axis in enumerate(axes):
        axis.set_subplotspec(stacked[place])
    titles = {"spearman": "rank correlation", "shared": f"share of the top {CHANCE['shared']:.0%} in common"}
    for axis, (figure_name, words) in zip(axes, titles.items(), strict=True):
        for height, key in enumerate(keys):
            one = explanation.means({figure_name: explanation.alike[key][figure_name]})[figure_name]
            colour = _colour(explanation, key[1])
            span = [[one.value - one.low], [one.high - one.value]]
            axis.errorbar(one.value, height, xerr=span, fmt="o", color=colour, capsize=3, markersize=5)
            others = explanation.others.get(key[1])
            if others is not None:
                mean = explanation.means({figure_name: others[figure_name]})[figure_name].value
                axis.scatter(mean, height, marker="|", s=90, color=INK, label="reference, another image" * (not height))
            if (blind := explanation.random_weights(key[1])) is not None:
                axis.scatter(blind[figure_name].value, height, marker="x", s=26, color=_GREY,
                             label="reference, random weights" * (not height))  # fmt: skip
        axis.tick_params(labelsize=8)
        axis.axvline(CHANCE[figure_name], color=_GREY, linewidth=0.9, linestyle=":", label="chance")
        axis.set(xlabel=words, yticks=range(len(keys)), xlim=(min(-0.05, axis.get_xlim()[0]), 1.02))
        axis.set_yticklabels([f"{key[0]}, {METHODS[key[1]].title}" for key in keys], fontsize=8)
        axis.set_ylim(len(keys) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", fontsize=8, frameon=False)
    return figure


def curves(explanation: Explanation) -> Any:
    """A row for each model: deletion on the left, insertion on the right; the control dashed."""
    figure, axes = new_figure(4.8, 1.9 * len(explanation.names) + 1.3)
    axes[0].remove()
    made: dict[str, Any] = {}
    for row, name in enumerate(explanation.names):
        for column, kind in enumerate(("deletion", "insertion")):
            axis = figure.add_subplot(len(explanation.names), 2, row * 2 + column + 1)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(color=GRID, linewidth=0.6)
            axis.tick_params(colors=INK, labelsize=7.5)
            for (model, method), one in explanation.curves.items():
                if model != name:
                    continue
                line = "-" if method in METHODS else "--"
                values = getattr(one, kind).mean(axis=0)
                (made[method],) = axis.plot(FRACTIONS, values, line, color=_colour(explanation, method), linewidth=1.4)
            axis.set(xlim=(0, 1), ylim=(0, 1.02))
            if row == 0:
                axis.set_title(kind, fontsize=9, color=INK)
            if row + 1 == len(explanation.names):
                words = "pixels gone" if column == 0 else "pixels there"
                axis.set_xlabel(f"share of {words}", fontsize=8)
            if column == 0:
                axis.set_ylabel(f"{name}\nprobability", fontsize=8)
    order = [method for method in dict.fromkeys([*explanation.methods, *made]) if method in made]
    figure.legend([made[method] for method in order], [_title(method) for method in order],
                  loc="outside lower center", ncols=2, fontsize=8, frameon=False)  # fmt: skip
    return figure


def sanity(explanation: Explanation) -> Any:
    """A panel for each model: rank correlation to the trained network's maps, stage by stage."""
    from .sanity import LIMIT

    models = list(dict.fromkeys(one.model for one in explanation.sanity))
    figure, axes = new_figure(4.6, 2.4 * len(models) + 0.9, len(models))
    stacked = figure.add_gridspec(len(models), 1)
    for place, axis in enumerate(axes):
        axis.set_subplotspec(stacked[place])
    made: dict[str, Any] = {}
    for axis, model in zip(axes, models, strict=True):
        for one in (each for each in explanation.sanity if each.model == model):
            stages: Sequence[Any] = one.stages
            values = [1.0, *(titles["spearman"].value for _, titles in stages)]
            made[one.method] = axis.plot(values, marker="o", markersize=3, color=_colour(explanation, one.method))[0]
        axis.axhline(LIMIT, color=_GREY, linewidth=0.9, linestyle=":")
        axis.axhline(0, color=INK, linewidth=0.6)
        axis.set_xticks(range(len(values)))
        axis.set_xticklabels(["trained", *(name for name, _ in stages)], fontsize=7.5, rotation=30, ha="right")
        axis.set_ylim(min(-0.3, axis.get_ylim()[0]), 1.05)
        axis.tick_params(axis="y", labelsize=7.5)
        axis.set_title(model, fontsize=9, color=INK)
        axis.set_ylabel("rank correlation\nto the trained maps", fontsize=8)
    axes[-1].set_xlabel("layers with random weights", fontsize=8)
    figure.legend(list(made.values()), [_title(method) for method in made], loc="outside lower center", ncols=2,
                  fontsize=8, frameon=False)  # fmt: skip
    return figure
