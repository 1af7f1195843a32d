"""Our own walk over an ONNX file, before any runtime sees it: nothing outside the file, no foreign operators.

ONNX is Protocol Buffers. Its wire format is small enough to be read here, strictly and within bounds, so that a
device needs no onnx package and no runtime has parsed a file that would be refused. Every field that can hold a
tensor or a graph is entered; a field that this table does not know is refused, as it might hold one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgedx.core.errors import BundleError

MAX_DEPTH = 48
MAX_FIELDS = 2_000_000
DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml"})
"""Operator sets of the standard. Others need libraries, and com.microsoft has an operator that opens files."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ORT_MAGIC = b"ORTM"  # at offset 4: ONNX Runtime would read the file as its own FlatBuffer, whatever else it is


@dataclass(frozen=True)
class _Message:
    """Fields of one message: those that hold messages with tensors or graphs inside, and those that cannot."""

    inner: dict[int, str]
    plain: frozenset[int]


# Field numbers of onnx.proto; a test compares them with the onnx package.
MESSAGES = {
    "ModelProto": _Message({7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
                           frozenset({1, 2, 3, 4, 5, 6, 8, 14, 26})),
    "GraphProto": _Message({1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
                           frozenset({2, 10, 11, 12, 13, 14, 16})),
    "NodeProto": _Message({5: "AttributeProto"}, frozenset({1, 2, 3, 4, 6, 7, 8, 9, 10})),
    "AttributeProto": _Message({5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
                                22: "SparseTensorProto", 23: "SparseTensorProto"},
                               frozenset({1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21})),
    "SparseTensorProto": _Message({1: "TensorProto", 2: "TensorProto"}, frozenset({3})),
    "TensorProto": _Message({}, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16})),
    "TrainingInfoProto": _Message({1: "GraphProto", 2: "GraphProto"}, frozenset({3, 4})),
    "FunctionProto": _Message({7: "NodeProto", 11: "AttributeProto"}, frozenset({1, 4, 5, 6, 8, 9, 10, 12, 13, 14})),
}  # fmt: skip
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DOMAIN_OF = {"NodeProto": 7, "FunctionProto": 10}


def check_onnx(data: bytes, where: str) -> None:
    """Refuse an ONNX file that is malformed, needs anything outside itself, or has operators of others.

    Parameters
    ----------
    data : bytes
        The file.
    where : str
        How to name it in an error.

    Raises
    ------
    BundleError
        With what was found. No other exception, whatever the bytes are.
    """
    if data[4:8] == _ORT_MAGIC:
        raise BundleError(f"{where} is in ONNX Runtime's own format", next_step="deploy again: bundles hold plain ONNX")
    walk = _Walk(where)
    walk.enter("ModelProto", memoryview(data), 0)
    if walk.graphs != 1:
        raise BundleError(f"{where} has {walk.graphs} main graphs instead of one: it is not an ONNX model")


class _Walk:
    def __init__(self, where: str) -> None:
        self.where = where
        self.graphs = 0
        self.fields = 0

    def enter(self, kind: str, data: memoryview, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise BundleError(f"{self.where}: graphs nested deeper than {MAX_DEPTH} messages")
        message = MESSAGES[kind]
        for number, wire, value in self._split(data):
            if (inner := message.inner.get(number)) is not None:
                if not isinstance(value, memoryview):
                    raise self._malformed(f"field {number} of {kind} is not a message")
                self.graphs += kind == "ModelProto" and inner == "GraphProto"
                self.enter(inner, value, depth + 1)
            elif number not in message.plain:
                raise BundleError(
                    f"{self.where}: field {number} of {kind} is not one that this version of edgedx knows",
                    next_step="update edgedx on this device, or export the model with an older onnx",
                )
            elif kind == "TensorProto":
                self._check_tensor(number, wire, value)
            elif number == _DOMAIN_OF.get(kind):
                self._check_domain(value)

    def _check_tensor(self, number: int, wire: int, value: int | memoryview) -> None:
        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and (wire != _VARINT or value != 0)):
            raise BundleError(
                f"{self.where} keeps weights outside itself (external data); a bundle's models are self-contained",
                next_step="export it with the weights inside",
            )

    def _check_domain(self, value: int | memoryview) -> None:
        domain = bytes(value[:80]) if isinstance(value, memoryview) else b"?"
        if domain not in DOMAINS:
            shown = domain.decode("ascii", "replace")
            raise BundleError(
                f"{self.where} has an operator of {shown!r}, which is not part of the ONNX standard",
                next_step="export it with standard operators only",
            )

    def _split(self, data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
        """Field number, wire type and value of each field: a number, or the bytes of what has a length."""
        at, end = 0, len(data)
        while at < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise BundleError(f"{self.where} has more than {MAX_FIELDS} fields")
            key, at = self._varint(data, at)
            number, wire = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise self._malformed(f"field number {number}")
            value: int | memoryview = 0
            if wire == _VARINT:
                value, at = self._varint(data, at)
            elif wire in (_FIXED32, _FIXED64):
                at += 4 if wire == _FIXED32 else 8
            elif wire == _BYTES:
                length, at = self._varint(data, at)
                value, at = data[at : at + length], at + length
            else:  # groups, which ONNX never had
                raise self._malformed(f"wire type {wire}")
            if at > end:
                raise self._malformed("a field reaches beyond its message")
            yield number, wire, value

    def _varint(self, data: memoryview, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= len(data):
                raise self._malformed("it ends inside a number")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value, at
        raise self._malformed("a number of more than 64 bits")

    def _malformed(self, what: str) -> BundleError:
        return BundleError(f"{self.where} is not a well-formed ONNX file: {what}", next_step="deploy the bundle again")
