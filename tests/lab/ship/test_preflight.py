"""The pre-flight tells the truth of NVIDIA's tables for each JetPack, and nothing when all is well."""

from __future__ import annotations

import pytest
from networks import convolution  # noqa: E402
from onnx import helper

from edgedx.core.settings.jetpack import JETPACKS, jetpack_support  # noqa: E402
from edgedx.core.settings.profile import load_profile, load_profiles  # noqa: E402
from edgedx.device.runtime.tensorrt_library import version_numbers  # noqa: E402
from edgedx.lab.ship.preflight import GraphFacts, check_graph, check_profile, off_dla, read_graph  # noqa: E402
from edgedx.lab.ship.tensorrt_operators import DLA, KNOWN, PARSERS, parser_of  # noqa: E402

FINE = GraphFacts(18, {"Conv": 3, "Relu": 2, "Gemm": 1}, False)


@pytest.mark.parametrize(
    ("graph", "tensorrt", "words"),
    [
        (FINE, "10.3", []),
        (FINE, "10.16.2", []),
        (FINE, "8.6", ["opset 18"]),
        (GraphFacts(17, {"Conv": 1}, False), "8.5", []),
        (GraphFacts(17, {"LayerNormalization": 1}, False), "8.5", ["LayerNormalization is not supported"]),
        (GraphFacts(17, {"LayerNormalization": 1}, False), "8.6", []),
        (GraphFacts(21, {"Conv": 1}, False), "10.3", ["opset 21"]),
        (GraphFacts(21, {"Conv": 1}, False), "10.16.2", []),
        (GraphFacts(17, {"QuantizeLinear": 1}, True), "8.6", ["FP16 scales"]),
        (GraphFacts(19, {"QuantizeLinear": 1}, True), "10.3", []),
        (GraphFacts(18, {"DeformConv": 1}, False), "10.0", ["DeformConv is not supported"]),
        (GraphFacts(18, {"DeformConv": 1}, False), "10.3", []),
        (GraphFacts(20, {"Gelu": 1}, False), "10.3", ["Gelu is not supported"]),
        (GraphFacts(20, {"Gelu": 1}, False), "10.15", []),
        (GraphFacts(18, {"Invented": 1}, False), "10.3", ["in no table"]),
        (GraphFacts(18, {"com.microsoft::FusedConv": 1}, False), "10.3", ["another domain"]),
        (FINE, "8.4", ["older than 8.5"]),
    ],
)
def test_each_version_objects_to_what_its_table_says(graph: GraphFacts, tensorrt: str, words: list[str]) -> None:
    found = check_graph(graph, tensorrt)
    assert len(found) == len(words)
    for problem, word in zip(found, words, strict=True):
        assert word in problem


def test_facts_are_read_from_the_file() -> None:
    model = convolution(opset=17, extra=[helper.make_node("Identity", ["pooled"], ["logits"], domain="com.example")])
    found = read_graph(model)
    assert found.opset == 17
    assert found.operators == {"Conv": 1, "Flatten": 1, "GlobalAveragePool": 1, "Relu": 1, "com.example::Identity": 1}


def test_a_profile_is_told_by_jetpack_and_with_a_way_out() -> None:
    profile = load_profile("orin-nano-8gb")
    warnings = check_profile({"fp16": convolution(opset=18)}, profile)
    told = {text.split(",")[0] for text in warnings}
    old = {f"JetPack {name}" for name in profile.jetpack if version_numbers(JETPACKS[name].tensorrt) < (10,)}
    assert told == old and old
    assert all("JetPack 6.1 or newer" in text for text in warnings)


def test_every_jetpack_that_edgedx_runs_on_has_a_table() -> None:
    named = {name for profile in load_profiles() for name in profile.jetpack if jetpack_support(name) == "native"}
    assert named
    for name in named:
        assert parser_of(version_numbers(JETPACKS[name].tensorrt)) is not None


def test_the_tables_agree_with_themselves() -> None:
    for version, parser in PARSERS.items():
        assert not parser.unsupported & KNOWN, version
        assert parser.source
    assert DLA <= KNOWN
    order = [PARSERS[version].unsupported for version in sorted(PARSERS)]
    for older, newer in zip(order, order[1:], strict=False):
        assert newer <= older  # a newer parser takes no less


def test_what_the_dla_leaves_to_the_gpu_is_counted() -> None:
    assert off_dla(FINE) == {}
    assert off_dla(GraphFacts(18, {"Conv": 3, "GlobalAveragePool": 1, "Flatten": 1}, False)) == {
        "GlobalAveragePool": 1,
        "Flatten": 1,
    }
