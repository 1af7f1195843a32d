"""Our walk over ONNX files agrees with the onnx package, refuses what reaches outside, and survives any bytes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import model
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from edgedx.core.bundle.onnx_walk import MAX_DEPTH, MESSAGES, check_onnx
from edgedx.core.errors import BundleError


def _loaded() -> onnx.ModelProto:
    return onnx.load_from_string(model())


def _external(tensor: TensorProto) -> TensorProto:
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def _tensor(name: str = "t") -> TensorProto:
    return numpy_helper.from_array(np.ones(3, np.float32), name)


def _attribute(model: onnx.ModelProto) -> onnx.AttributeProto:
    return model.graph.node[0].attribute.add(name="x")


def _subgraph() -> onnx.GraphProto:
    return helper.make_graph([], "inner", [], [], [_external(_tensor())])


def test_the_table_of_fields_is_that_of_the_onnx_package() -> None:
    """A field that the table lacks could hold a tensor, and one that it has too much would hide one."""
    seen: dict[str, tuple[dict[int, str], set[int]]] = {}

    def walk(message) -> None:  # type: ignore[no-untyped-def]
        if message.name in seen:
            return
        inner, plain = {}, set()
        seen[message.name] = (inner, plain)
        for field in message.fields:
            if field.message_type is not None and field.message_type.name in MESSAGES:
                inner[field.number] = field.message_type.name
                walk(field.message_type)
            else:
                plain.add(field.number)
                if field.message_type is not None:
                    assert not _holds_tensors(field.message_type), field.full_name
        assert (MESSAGES[message.name].inner, MESSAGES[message.name].plain) == (inner, plain), message.name

    walk(onnx.ModelProto.DESCRIPTOR)
    assert set(seen) == set(MESSAGES)


def _holds_tensors(message, seen: tuple[str, ...] = ()) -> bool:  # type: ignore[no-untyped-def]
    if message.name in MESSAGES:
        return True
    inner = [field.message_type for field in message.fields if field.message_type is not None]
    return any(_holds_tensors(one, (*seen, message.name)) for one in inner if one.name not in seen)


def test_models_that_onnx_ships_are_accepted() -> None:
    """Real files of many exporters; those with operators outside the standard are refused by name."""
    found = sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))
    assert len(found) > 50
    for path in found:
        data = path.read_bytes()
        domains = {node.domain for node in onnx.load_from_string(data).graph.node}
        if domains <= {"", "ai.onnx", "ai.onnx.ml"}:
            check_onnx(data, path.name)
        else:
            with pytest.raises(BundleError, match="not part of the ONNX standard"):
                check_onnx(data, path.name)


HIDDEN: dict[str, Callable[[onnx.ModelProto], object]] = {
    "initializer": lambda m: _external(m.graph.initializer[0]),
    "location alone": lambda m: setattr(m.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
    "entry alone": lambda m: m.graph.initializer[0].external_data.add(key="location", value="x"),
    "unknown location": lambda m: m.graph.initializer[0].MergeFromString(b"\x70\x07"),
    "sparse values": lambda m: m.graph.sparse_initializer.add().values.CopyFrom(_external(_tensor())),
    "sparse indices": lambda m: m.graph.sparse_initializer.add().indices.CopyFrom(_external(_tensor())),
    "attribute tensor": lambda m: _attribute(m).t.CopyFrom(_external(_tensor())),
    "attribute tensors": lambda m: _attribute(m).tensors.append(_external(_tensor())),
    "attribute sparse": lambda m: _attribute(m).sparse_tensor.values.CopyFrom(_external(_tensor())),
    "attribute sparses": lambda m: _attribute(m).sparse_tensors.add().indices.CopyFrom(_external(_tensor())),
    "subgraph": lambda m: _attribute(m).g.CopyFrom(_subgraph()),
    "subgraphs": lambda m: _attribute(m).graphs.append(_subgraph()),
    "training": lambda m: m.training_info.add().initialization.CopyFrom(_subgraph()),
    "training algorithm": lambda m: m.training_info.add().algorithm.CopyFrom(_subgraph()),
    "function": lambda m: m.functions.add().node.add().attribute.add().t.CopyFrom(_external(_tensor())),
    "function default": lambda m: m.functions.add().attribute_proto.add().g.CopyFrom(_subgraph()),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_weights_outside_the_file_are_found_wherever_they_hide(place: str) -> None:
    made = _loaded()
    HIDDEN[place](made)
    with pytest.raises(BundleError, match="external data"):
        check_onnx(made.SerializeToString(), "model")


def test_a_file_that_onnx_saved_with_external_data_is_refused(tmp_path: Path) -> None:
    made = _loaded()
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((1, 2), np.float32), "weight"))
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").exists()
    with pytest.raises(BundleError, match="external data"):
        check_onnx((tmp_path / "m.onnx").read_bytes(), "model")


@pytest.mark.parametrize("domain", ["com.microsoft", "evil", "ai.onnx.preview.training", "x" * 200])
def test_operators_of_others_are_refused_everywhere(domain: str) -> None:
    for change in (
        lambda m: m.graph.node.add(op_type="EPContext", domain=domain),
        lambda m: _attribute(m).g.node.add(op_type="X", domain=domain),
        lambda m: m.functions.add(name="f").node.add(op_type="X", domain=domain),
        lambda m: m.functions.add(name="f", domain=domain),
    ):
        made = _loaded()
        change(made)
        with pytest.raises(BundleError, match="not part of the ONNX standard"):
            check_onnx(made.SerializeToString(), "model")


def test_a_file_that_onnx_runtime_would_take_for_its_own_format_is_refused() -> None:
    """A well-formed ONNX file whose first field puts ORTM at offset 4."""
    data = b"\x12\x06xxORTM" + model()
    assert data[4:8] == b"ORTM" and onnx.load_from_string(data).producer_name == "xxORTM"
    with pytest.raises(BundleError, match="own format"):
        check_onnx(data, "model")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


MALFORMED = {
    "empty": b"",
    "text": b"no network",
    "no graph": b"\x08\x08",
    "two graphs": model() + _field(7, b""),
    "graph is a number": b"\x38\x01",
    "unknown field": model() + b"\xf8\x01\x01",
    "field zero": model() + b"\x00\x00",
    "group": model() + b"\x0b\x0c",
    "wire type 6": model() + b"\x0e",
    "cut": model()[:-3],
    "length beyond": model() + b"\x12\x7f",
    "huge length": model() + b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "endless number": model() + b"\x08" + b"\xff" * 20,
    "number of 66 bits": model() + b"\x08" + b"\xff" * 9 + b"\x03",
    "cut number": model() + b"\x08\xff",
    "cut fixed": model() + b"\x0d\x00",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused(case: str) -> None:
    with pytest.raises(BundleError, match="model"):
        check_onnx(MALFORMED[case], "model")


def test_graphs_inside_graphs_without_end_are_refused() -> None:
    data = b""
    for _ in range(5000):
        data = _field(7, _field(1, _field(5, _field(6, data)))) if not data else _field(1, _field(5, _field(6, data)))
    with pytest.raises(BundleError, match=f"deeper than {MAX_DEPTH}"):
        check_onnx(_field(7, data), "model")


def test_a_bomb_of_tiny_fields_is_given_up_in_time() -> None:
    begun = time.process_time()
    with pytest.raises(BundleError, match="more than"):
        check_onnx(_field(7, _field(1, b"\x0a\x00" * 3_000_000)), "model")
    assert time.process_time() - begun < 30


def test_any_bytes_give_our_error_or_none_and_never_miss_external_data() -> None:
    """The onnx package is the judge: what it reads as external must not pass."""
    made = _loaded()
    HIDDEN["attribute tensor"](made)
    seeds = [
        model(),
        made.SerializeToString(),
        (Path(onnx.__file__).parent / "backend/test/data/simple").rglob("*.onnx"),
    ]
    corpus = [*seeds[:2], *[path.read_bytes() for path in list(seeds[2])[:6]]]  # type: ignore[list-item,arg-type]
    dice = random.Random(5)
    passed = 0
    for _ in range(6000):
        data = bytearray(dice.choice(corpus))
        for _ in range(dice.choice((1, 1, 2, 5))):
            kind, at = dice.randrange(4), dice.randrange(len(data))
            if kind == 0:
                data[at] ^= 1 << dice.randrange(8)
            elif kind == 1:
                data[at] = dice.randrange(256)
            elif kind == 2:
                del data[at : at + dice.randrange(1, 4)]
            else:
                data[at:at] = dice.randbytes(dice.randrange(1, 4))
        try:
            check_onnx(bytes(data), "model")
        except BundleError:
            continue
        passed += 1
        try:
            parsed = onnx.load_from_string(bytes(data))
        except DecodeError:
            continue
        assert not _has_external(parsed)
    assert passed > 300  # or the judge was never asked


def _has_external(message) -> bool:  # type: ignore[no-untyped-def]
    if isinstance(message, TensorProto):
        return message.data_location == TensorProto.EXTERNAL or len(message.external_data) > 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            values = [value] if hasattr(value, "ListFields") else value
            if any(_has_external(one) for one in values):
                return True
    return False
