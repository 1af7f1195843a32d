"""The server's side of a federation, over whatever carries its messages: rounds, then the model's figures by site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import Tensor, nn

from edgedx.core.errors import InputOutputError
from edgedx.core.progress import tell
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import null_for_nan
from edgedx.lab.network.checkpoint import load_state, save_state

from .app import ARRAYS, CONFIG, METRICS
from .start import agreement
from .strategy import Guard, reason_of, strategy_of
from .weights import from_record, load_into, local_names, problem_of, shapes_of, shared_names, tensors_of, to_record

STATE = "federation.safetensors"
_FIGURES = ("images", "patients", "auc", "low", "high", "own_auc", "own_low", "own_high")


@dataclass
class Federation:
    """What a federation gave.

    Attributes
    ----------
    rounds : list of dict
        Of each round, what every site told, or why its update was left out.
    sites : dict
        Of each site its figures on its own test images, or why there are none.
    privacy : dict, optional
        Epsilon and what it holds for.
    """

    rounds: list[dict[str, Any]]
    sites: dict[str, dict[str, Any]]
    privacy: dict[str, Any] | None


def federate(
    recipe: Recipe, model: nn.Module, grid: Grid, names: Mapping[int, str], state: Path, *, resume: bool = False
) -> Federation:
    """Train `model` in place with the sites behind `grid`.

    Parameters
    ----------
    names : mapping of int to str
        Flower's node ids to names of sites.
    state : Path
        File that holds the weights after each round; with `resume` it is gone on from.
    """
    settings = recipe.federated
    shared = shared_names(model, settings)
    done: list[dict[str, Any]] = []
    spent: dict[str, Any] | None = None
    complete = to_record(tensors_of(model))  # as it began, for layers that stay at the sites
    if resume and state.is_file():
        tensors, facts = load_state(state)
        load_into(model, tensors)
        done, spent = facts["history"], facts["privacy"]
        tell(f"going on after round {len(done)} of {settings.rounds}")
    inner = strategy_of(settings, len(names))
    account = getattr(inner, "accountant", None)
    if account is not None and spent is not None:
        account.load_state_dict(spent)

    def keep(arrays: ArrayRecord, history: list[dict[str, Any]]) -> None:
        facts = {"history": history, "privacy": account.state_dict() if account is not None else None}
        save_state(state, from_record(arrays), json.loads(json.dumps(facts)))
        tell(told_of(history[-1], settings.rounds))

    now = tensors_of(model)
    first = {name: now[name] for name in shared}
    guard = Guard(
        inner, settings, names, complete, shapes_of(first), agreement(recipe), offset=len(done), keep=keep,
        history=done,
    )  # fmt: skip
    left = settings.rounds - len(done)
    if left > 0:
        result = guard.start(grid, to_record(first), num_rounds=left, timeout=60 * settings.wait_minutes)
        load_into(model, from_record(result.arrays))
    if not any(line["combined"] for line in guard.history):
        raise InputOutputError(
            f"in none of {len(guard.history)} rounds were there enough usable updates",
            next_step="read what is told of each site, above and in the log; or lower federated.min_sites",
        )
    if local_names(model, settings) and not settings.noise_multiplier:
        _complete(recipe, model, grid, names)
    return Federation(guard.history, _judge(recipe, model, grid, names), _privacy(account))


def told_of(line: Mapping[str, Any], rounds: int) -> str:
    """A round in a line: ``round 3 of 10: north loss 0.412, val AUC 0.91; south left out``."""
    parts = []
    for name, said in line["sites"].items():
        area = "-" if said.get("val_auc") is None else f"{said['val_auc']:.3f}"
        parts.append(f"{name} loss {said['loss']:.3f}, val AUC {area}" if "loss" in said else f"{name} left out")
    return f"round {line['round']} of {rounds}: {'; '.join(parts)}"


def _ask(grid: Grid, content: RecordDict, kind: str, minutes: float) -> list[Message]:
    messages = [Message(content, node, kind) for node in grid.get_node_ids()]
    return list(grid.send_and_receive(messages, timeout=60 * minutes)) if messages else []


def _complete(recipe: Recipe, model: nn.Module, grid: Grid, names: Mapping[int, str]) -> None:
    """Give the model the layers that stayed at the sites: their mean by training images, or their median where the
    recipe does not trust every site."""
    now, local = tensors_of(model), local_names(model, recipe.federated)
    shapes = shapes_of({name: now[name] for name in now if name in local})
    content = RecordDict({CONFIG: ConfigRecord({"agreement": agreement(recipe)})})
    given: list[tuple[float, dict[str, Tensor]]] = []
    for reply in _ask(grid, content, MessageType.QUERY, recipe.federated.wait_minutes):
        usable = not reply.has_error() and set(reply.content) == {ARRAYS, METRICS}
        if not usable or problem_of(reply.content[ARRAYS], shapes) is not None:
            tell(f"{names.get(reply.metadata.src_node_id)} gave no usable layers; those of the others are taken")
            continue
        images = min(max(float(reply.content[METRICS].get("images", 1)), 1.0), 1e8)
        given.append((1.0 if recipe.federated.weighting == "equal" else images, from_record(reply.content[ARRAYS])))
    if not given:
        tell("no site gave its layers: those of the model are as they were at the start, and so are its figures")
        return
    weights = torch.tensor([weight for weight, _ in given])
    for name in shapes:
        stacked = torch.stack([tensors[name] for _, tensors in given])
        mean = torch.tensordot(weights / weights.sum(), stacked, dims=1)
        load_into(model, {name: mean if recipe.federated.aggregate == "mean" else stacked.median(dim=0).values})


def _judge(recipe: Recipe, model: nn.Module, grid: Grid, names: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    config = ConfigRecord({"agreement": agreement(recipe)})
    content = RecordDict({ARRAYS: to_record(tensors_of(model)), CONFIG: config})
    sites: dict[str, dict[str, Any]] = {name: {"problem": "it was not there at the end"} for name in names.values()}
    for reply in _ask(grid, content, MessageType.EVALUATE, recipe.federated.wait_minutes):
        name = names.get(reply.metadata.src_node_id, str(reply.metadata.src_node_id))
        if reply.has_error() or set(reply.content) != {METRICS}:
            sites[name] = {"problem": reason_of(reply) if reply.has_error() else "an answer of another form"}
            continue
        metrics = reply.content[METRICS]
        sites[name] = {key: _plain(metrics[key]) for key in _FIGURES if key in metrics}
    return sites


def _plain(value: Any) -> float | int | None:
    return value if isinstance(value, int) else null_for_nan(value)


def _privacy(account: Any) -> dict[str, Any] | None:
    if account is None:
        return None
    spent = account.get_privacy_spent()
    return {
        "epsilon": spent.epsilon,
        "delta": spent.delta,
        "releases": spent.num_releases,
        "accounting": "Rényi differential privacy, no amplification by sampling",
        "protects": "whether one site took part, from whoever sees the models; not from the server, and not the "
        "figures that sites tell",
    }
