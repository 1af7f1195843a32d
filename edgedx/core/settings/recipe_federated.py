"""The recipe's section `federated`: how hospitals that share no images train one model together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from .recipe_data import Section


class Federated(Section):
    """Rounds of training at several sites, whose weights a server combines: `edgedx federated`."""

    rounds: int = Field(10, ge=1, description="Times that every site trains and the server combines.")
    epochs: float = Field(1.0, gt=0, description="Epochs at each site in a round.")
    method: Literal["fedavg", "fedprox", "fedbn"] = Field(
        "fedavg",
        description="fedavg: weights are averaged (McMahan et al. 2017); fedprox: and a site is held to what it was "
        "sent (Li et al. 2020); fedbn: batch-norm layers stay at their site (Li et al. 2021).",
    )
    proximal_weight: float = Field(0.01, ge=0, description="FedProx: mu, of the squared distance from what was sent.")
    aggregate: Literal["mean", "median", "trimmed", "krum"] = Field(
        "mean",
        description="How updates become one. The others hold against a poisoned site: median of each weight, mean "
        "without the extremes, or the one update nearest to the others (Blanchard et al. 2017).",
    )
    trimmed_share: float = Field(0.2, ge=0, lt=0.5, description="Trimmed: share of the sites left out at each end.")
    bad_sites: int = Field(1, ge=0, description="Krum: sites that may be poisoned; it needs 2 of them + 3 in all.")
    weighting: Literal["images", "equal"] = Field(
        "images", description="Of the mean: by the number of training images that a site says it has, or all alike."
    )
    fixed_statistics: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the rounds, the last ones, in which sites normalize by the common running statistics of "
        "batch norm instead of those of their own batches, as the finished model will (FixBN, Zhong et al. 2023). "
        "Where statistics stay at the sites it does nothing.",
    )
    clip_norm: float = Field(
        0.0,
        ge=0,
        description="Greatest L2 norm of a site's change in a round; a greater one is scaled down. With it, running "
        "statistics of batch norm stay at their site until the end. 0 is off.",
    )
    noise_multiplier: float = Field(
        0.0,
        ge=0,
        description="Central differential privacy of sites: the server adds Gaussian noise of so many clip_norm to "
        "the sum of changes, every site in every round. 0 is off.",
    )
    delta: float = Field(1e-5, gt=0, lt=1, description="At which epsilon is told.")
    min_sites: int = Field(2, ge=1, description="Usable updates that a round needs; with fewer it changes nothing.")
    wait_minutes: float = Field(60.0, gt=0, description="Longest wait for a site in a round, and for sites to connect.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.noise_multiplier and not self.clip_norm:
            raise ValueError("clip_norm: above 0 with noise_multiplier, as the noise is measured by it")
        if self.noise_multiplier and self.aggregate != "mean":
            raise ValueError("aggregate: mean with noise_multiplier; no epsilon is known of the others")
        return self
