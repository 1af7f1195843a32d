"""How updates become one model: Flower's strategies, and a guard in front of them that believes no site."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    Strategy,
)
from flwr.supercore.differential_privacy import compute_clip_model_update

from edgedx.core.progress import tell
from edgedx.core.settings.recipe_federated import Federated
from edgedx.core.table import null_for_nan

from .app import ARRAYS, CONFIG, METRICS
from .weights import problem_of

_METRICS = {"images", "loss", "val_loss", "val_auc", "weight"}
_MOST_IMAGES = 10**8


def strategy_of(settings: Federated, sites: int) -> Strategy:
    """The strategy of Flower's that the recipe asks for; FedProx and FedBN differ from FedAvg at the sites alone."""
    least = sites if settings.noise_multiplier else min(settings.min_sites, sites)
    common: dict[str, Any] = {
        "fraction_evaluate": 0.0,  # sites judge once, at the end
        "min_train_nodes": least,
        "min_available_nodes": least,
        "weighted_by_key": "weight",
        "arrayrecord_key": ARRAYS,
        "configrecord_key": CONFIG,
    }
    if settings.aggregate == "median":
        return FedMedian(**common)
    if settings.aggregate == "trimmed":
        return FedTrimmedAvg(**common, beta=settings.trimmed_share)
    if settings.aggregate == "krum":
        return Krum(**common, num_malicious_nodes=settings.bad_sites)
    average = FedAvg(**common)
    if not settings.noise_multiplier:
        return average
    return DifferentialPrivacyServerSideFixedClipping(
        average, settings.noise_multiplier, settings.clip_norm, sites, accountant=accountant(settings, sites)
    )


def accountant(settings: Federated, sites: int) -> Any:
    """Rényi accounting of releases in which every site takes part (Mironov 2017), by Google's dp-accounting."""
    from flwr.serverapp import NeighboringRelation, PrivacyConfig, RdpAccountant, SamplingMethod

    return RdpAccountant(
        PrivacyConfig(
            target_delta=settings.delta,
            population_size=sites,
            neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
            sampling_method=SamplingMethod.NO_AMPLIFICATION,
        )
    )


@dataclass
class Guard(Strategy):
    """Looks at each update before a strategy of Flower's sees it, and keeps the account of the rounds.

    An update is left out where tensors are missing, of another shape or not finite, where the figures beside it make
    no sense, or where nothing moved; a change that is too large is scaled down to ``clip_norm``. A round with fewer
    than ``min_sites`` usable updates changes nothing.

    Attributes
    ----------
    complete : ArrayRecord
        The model that the federation began with: layers that stay at their sites are sent as they are in it.
    offset : int
        Rounds that an earlier start of the server has done.
    keep : callable
        Is given the weights and the history after each round.
    """

    inner: Strategy
    settings: Federated
    names: Mapping[int, str]
    complete: ArrayRecord
    shapes: Mapping[str, tuple[int, ...]]
    agreed: str
    offset: int = 0
    keep: Callable[[ArrayRecord, list[dict[str, Any]]], None] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy`; every message holds the whole model."""
        self.arrays = arrays
        self.round = server_round + self.offset
        config["round"], config["agreement"] = self.round, self.agreed
        messages = list(self.inner.configure_train(server_round, arrays, config, grid))
        everything = ArrayRecord({name: arrays.get(name, self.complete[name]) for name in self.complete})
        for message in messages:
            message.content[ARRAYS] = everything
        self.asked = [message.metadata.dst_node_id for message in messages]
        self.began = time.monotonic()
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """See `Strategy`."""
        sites: dict[str, dict[str, Any]] = {
            name: {"problem": "it gave no answer in time"} for name in sorted(map(self._name, self.asked))
        }
        good: list[Message] = []
        # In the order of the sites' names: a sum of floats depends on its order, and a federation should repeat.
        for reply in sorted(replies, key=lambda one: self._name(one.metadata.src_node_id)):
            problem, told = self._look(reply)
            sites[self._name(reply.metadata.src_node_id)] = {"problem": problem} if problem else told
            if not problem:
                good.append(reply)
        for name, said in sites.items():
            if said.get("problem"):
                tell(f"round {self.round}: {name} is left out: {said['problem']}")
        enough = len(good) >= self._least()
        arrays, metrics = self.inner.aggregate_train(server_round, good if enough else [])
        if arrays is None:
            tell(
                f"round {self.round}: {len(good)} usable updates, {self._least()} are needed: the model stays as it was"
            )
        else:
            arrays = ArrayRecord({name: Array(arrays[name].numpy().astype(np.float32)) for name in self.shapes})
        seconds = round(time.monotonic() - self.began, 1)
        self.history.append({"round": self.round, "combined": arrays is not None, "seconds": seconds, "sites": sites})
        if self.keep is not None:
            self.keep(arrays if arrays is not None else self.arrays, self.history)
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: sites judge once, at the end."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing."""
        return None

    def summary(self) -> None:
        """Flower's own."""
        self.inner.summary()

    def _least(self) -> int:
        settings = self.settings
        if settings.noise_multiplier:
            return len(self.names)  # the account holds for all of them or not at all
        krum = 2 * settings.bad_sites + 3 if settings.aggregate == "krum" else 1
        return max(min(settings.min_sites, len(self.names)), krum)

    def _name(self, node: int) -> str:
        return self.names.get(node, f"site {node}")

    def _look(self, reply: Message) -> tuple[str | None, dict[str, Any]]:
        """What is wrong with an answer, and what it tells; it is clipped in place."""
        if reply.has_error():
            return reason_of(reply), {}
        if set(reply.content) != {ARRAYS, METRICS}:
            return "an answer of another form", {}
        record, metrics = reply.content[ARRAYS], reply.content[METRICS]
        if set(metrics) != _METRICS or not all(isinstance(value, int | float) for value in metrics.values()):
            return "figures of another form", {}
        images = metrics["images"]
        if not (isinstance(images, int) and 1 <= images <= _MOST_IMAGES) or not math.isfinite(metrics["loss"]):
            return "figures that make no sense", {}
        if (problem := problem_of(record, self.shapes)) is not None:
            return problem, {}
        before, after = self.arrays.to_numpy_ndarrays(), record.to_numpy_ndarrays()
        norm = math.sqrt(
            sum(float(np.sum((b.astype(np.float64) - a) ** 2)) for a, b in zip(before, after, strict=True))
        )
        if norm == 0 or not math.isfinite(norm):
            return "nothing moved" if norm == 0 else "not a finite change", {}
        equal = self.settings.weighting == "equal" or self.settings.noise_multiplier > 0
        metrics["weight"] = 1 if equal else images
        if self.settings.clip_norm and not self.settings.noise_multiplier:  # Flower's wrapper clips by itself
            compute_clip_model_update(after, before, self.settings.clip_norm)
            reply.content[ARRAYS] = ArrayRecord(
                {name: Array(value.astype(np.float32)) for name, value in zip(record, after, strict=True)}
            )
        told = {name: null_for_nan(metrics[name]) for name in ("loss", "val_loss", "val_auc")}
        return None, {"images": images, **told, "change": norm, "clipped": bool(0 < self.settings.clip_norm < norm)}


def reason_of(reply: Message) -> str:
    """Why a site has no answer: edgedx's sentence for the code, never the text that a site sent."""
    from .app import REASONS

    return REASONS.get(reply.error.code, f"it is not there (Flower's code {reply.error.code})")
