"""Before shipping: would the TensorRT of a device's JetPack take this graph? Static, from NVIDIA's published tables.

It warns and never refuses: a table is not a parser. What the real parser says of the same graphs is found by building
them with TensorRT for RTX (`edgedx.lab.ship.engines`), which is newer than any JetPack's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edgedx.core.settings.jetpack import JETPACKS, jetpack_support
from edgedx.core.settings.profile import DeviceProfile
from edgedx.device.runtime.tensorrt_library import version_numbers

from .tensorrt_operators import DLA, KNOWN, PARSERS, parser_of


@dataclass(frozen=True)
class GraphFacts:
    """What a parser asks of an ONNX file.

    Attributes
    ----------
    opset : int
        Of the standard domain.
    operators : dict
        Operator to number of nodes; one of another domain is written domain::name.
    fp16_scales : bool
        Q/DQ nodes have FP16 scales.
    """

    opset: int
    operators: dict[str, int]
    fp16_scales: bool


def read_graph(model: bytes) -> GraphFacts:
    """Facts of an ONNX file."""
    graph = onnx.load_from_string(model)
    halves = {tensor.name for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    names = Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in graph.graph.node)
    return GraphFacts(
        opset=next((entry.version for entry in graph.opset_import if not entry.domain), 0),
        operators=dict(sorted(names.items())),
        fp16_scales=any(node.op_type == "QuantizeLinear" and node.input[1] in halves for node in graph.graph.node),
    )


def check_graph(graph: GraphFacts, tensorrt: str) -> list[str]:
    """What a TensorRT version is not documented to take; empty where all is well.

    Parameters
    ----------
    tensorrt : str
        Version, as ``10.3``.
    """
    parser = parser_of(version_numbers(tensorrt))
    if parser is None:
        return [f"TensorRT {tensorrt} is older than {'.'.join(map(str, min(PARSERS)))}, which edgedx needs"]
    found = []
    oldest, newest = parser.opset
    if not oldest <= graph.opset <= newest:
        found.append(f"opset {graph.opset}; TensorRT {tensorrt} is documented for {oldest} to {newest}")
    for name in graph.operators:
        if "::" in name:
            found.append(f"operator {name} is of another domain than ONNX'")
        elif name in parser.unsupported:
            found.append(f"operator {name} is not supported by TensorRT {tensorrt} ({parser.source})")
        elif name not in KNOWN and not any(name in other.unsupported for other in PARSERS.values()):
            found.append(f"operator {name} is in no table of TensorRT's parser")
    if graph.fp16_scales and version_numbers(tensorrt) < (10,):
        found.append(f"Q/DQ with FP16 scales, which a strongly typed network wants; TensorRT {tensorrt} has none")
    return found


def check_profile(models: Mapping[str, bytes], profile: DeviceProfile) -> list[str]:
    """Sentences about each variant and JetPack of a profile where something may not work.

    JetPacks on which edgedx does not run are left out.
    """
    warnings = []
    for variant, model in models.items():
        graph = read_graph(model)
        for jetpack in profile.jetpack:
            if jetpack_support(jetpack) == "unsupported":
                continue
            tensorrt = JETPACKS[jetpack].tensorrt
            if problems := check_graph(graph, tensorrt):
                way = {"container": "use JetPack 6.1 or newer", "update": "update to JetPack 6.1 or newer"}
                hint = way.get(jetpack_support(jetpack), "run --variant fp32 on its CPU")
                warnings.append(f"JetPack {jetpack}, {variant}: {'; '.join(problems)}. Else {hint}")
    return warnings


def off_dla(graph: GraphFacts) -> dict[str, int]:
    """Operators that NVIDIA's table does not list as native on Orin's DLA, with their counts: they run on the GPU."""
    return {name: count for name, count in graph.operators.items() if name not in DLA}
