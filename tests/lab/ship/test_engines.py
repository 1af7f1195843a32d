"""Engines for RTX cards, built ahead of time by NVIDIA's real builder on a machine without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from exports import exported, in_three_precisions, shared_folder
from networks import needs_rtx  # noqa: E402

from edgedx.core.bundle.engine_part import unpack_engine  # noqa: E402
from edgedx.core.bundle.manifest import Variant  # noqa: E402
from edgedx.core.errors import UnsupportedModel  # noqa: E402
from edgedx.core.settings.profile import load_profile  # noqa: E402
from edgedx.lab.ship import engines  # noqa: E402
from edgedx.lab.ship.engines import AMPERE_AND_LATER, TURING, build_ahead, capability_groups, ship_engines  # noqa: E402


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small network in three precisions; the tested backbones are built in test_backbones.py."""
    return in_three_precisions(exported(shared_folder(tmp_path_factory), "test_efficientnet"))


def variants() -> dict[str, Variant]:
    """As `edgedx compress` names them for an RTX card."""
    return {
        "fp32": Variant(file="fp32.onnx", precision="fp32", scheme="float", purpose="cpu"),
        "fp16": Variant(file="fp16.onnx", precision="fp16", scheme="float", purpose="tensorrt"),
        "int8": Variant(file="int8.onnx", precision="int8", scheme="trt", purpose="tensorrt"),
    }


@needs_rtx
def test_engines_for_every_rtx_card_ship_and_come_out_whole(small: dict[str, bytes]) -> None:
    shipped = ship_engines(variants(), small, load_profile("rtx-pc"))
    assert not shipped.note
    assert {(one.variant, tuple(one.sm)) for one in shipped.engines} == {
        (name, group) for name in ("fp16", "int8") for group in (AMPERE_AND_LATER, TURING)
    }
    assert {one.file for one in shipped.engines} == set(shipped.parts)
    for one, record in zip(shipped.engines, shipped.records, strict=True):
        plan = unpack_engine(shipped.parts[one.file], one)
        assert (len(plan), len(shipped.parts[one.file])) == (record["bytes"], record["compressed_bytes"])
        assert record["seconds"] > 0


@needs_rtx
def test_turing_refuses_fp32_which_is_why_what_is_not_8_bit_is_fp16(small: dict[str, bytes]) -> None:
    with pytest.raises(UnsupportedModel, match=r"Turing \(SM75\): FP32 GEMM is not supported"):
        build_ahead(small["fp32"], "fp32", TURING, quiet=True)


@needs_rtx
def test_a_variant_that_some_cards_refuse_ships_for_the_others_and_says_so(small: dict[str, bytes]) -> None:
    only = {"fp32": Variant(file="fp32.onnx", precision="fp32", scheme="float", purpose="tensorrt")}
    shipped = ship_engines(only, small, load_profile("rtx-pc"))
    assert [one.sm for one in shipped.engines] == [list(AMPERE_AND_LATER)]
    (refused,) = [record for record in shipped.records if "refused" in record]
    assert refused["sm"] == list(TURING)


def test_without_the_library_no_engine_ships_and_the_deployment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedx.core.errors import ProviderMissing

    def missing(flavour: str) -> Any:
        raise ProviderMissing("not installed", next_step="install it")

    monkeypatch.setattr(engines, "load_library", missing)
    shipped = ship_engines(variants(), {}, load_profile("rtx-pc"))
    assert not shipped.engines
    assert "the PC builds its own" in shipped.note


def test_cards_are_grouped_as_nvidia_says() -> None:
    assert capability_groups(load_profile("rtx-pc")) == [AMPERE_AND_LATER, TURING]
    assert capability_groups(load_profile("x86-vnni")) == []
