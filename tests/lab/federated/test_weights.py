"""What travels, and what is refused before it is believed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tiny
import torch

pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")

from flwr.app import Array, ArrayRecord  # noqa: E402

from edgedx.lab.federated.start import empty_model  # noqa: E402
from edgedx.lab.federated.weights import (  # noqa: E402
    from_record,
    load_into,
    local_names,
    problem_of,
    shapes_of,
    shared_names,
    tensors_of,
    to_record,
)

LIKE = {"a": (2, 3), "b": (4,)}


def _record(**changed: Array) -> ArrayRecord:
    arrays = {"a": Array(np.ones((2, 3), np.float32)), "b": Array(np.zeros(4, np.float32))}
    return ArrayRecord({**arrays, **changed})


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def test_weights_come_back_as_they_were() -> None:
    model = empty_model(tiny.recipe())
    before = {name: value.clone() for name, value in tensors_of(model).items()}
    record = to_record(before)
    assert problem_of(record, shapes_of(before)) is None
    for value in tensors_of(model).values():
        value.zero_()
    load_into(model, from_record(record))
    assert all(torch.equal(value, before[name]) for name, value in tensors_of(model).items())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"b": Array(np.array([0, np.nan, 0, 0], np.float32))}, "b: not a finite number"),
        ({"b": Array(np.array([0, np.inf, 0, 0], np.float32))}, "b: not a finite number"),
        ({"b": Array(np.zeros(5, np.float32))}, "b: float32 of shape (5,), not float32 of (4,)"),
        ({"b": Array(np.zeros(4))}, "b: float64 of shape (4,), not float32 of (4,)"),
        ({"b": Array(np.zeros(100_000, np.float32))}, "b: more bytes than the tensor has"),
        ({"c": Array(np.zeros(4, np.float32))}, "other tensors than the model has"),
        ({"b": Array("float32", (4,), "numpy.ndarray", b"nothing of the kind")}, "b: cannot be read"),
        ({"b": Array("object", (4,), "numpy.ndarray", _pickled())}, "b: object of shape (1,), not float32 of (4,)"),
    ],
)
def test_what_is_no_weights_of_the_model_is_named(changed: dict[str, Array], said: str) -> None:
    assert problem_of(_record(), LIKE) is None
    assert problem_of(_record(**changed), LIKE) == said


def test_a_header_that_claims_more_than_it_brings_takes_no_memory() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    said = problem_of(_record(b=Array("float32", (4,), "numpy.ndarray", stream.getvalue())), LIKE)
    assert said == "b: float32 of shape (1000000000000,), not float32 of (4,)"


def test_batch_norm_stays_at_home_with_fedbn_and_statistics_where_changes_are_clipped() -> None:
    plain = tiny.recipe()
    model = empty_model(plain)
    assert not local_names(model, plain.federated)
    assert shared_names(model, plain.federated) == list(tensors_of(model))
    bn = local_names(model, plain.federated.model_copy(update={"method": "fedbn"}))
    assert bn and {name.rpartition(".")[2] for name in bn} == {"weight", "bias", "running_mean", "running_var"}
    clipped = local_names(model, plain.federated.model_copy(update={"clip_norm": 1.0}))
    assert {name.rpartition(".")[2] for name in clipped} == {"running_mean", "running_var"}
