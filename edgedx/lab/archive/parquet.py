"""The table of an archive: its columns, and a row from a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgedx.core.errors import DependencyMissing
from edgedx.core.result import Result

from .access import NotGiven


def parquet() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises
    ------
    DependencyMissing
        They are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DependencyMissing(
            "an archive's table needs pyarrow", next_step="pip install 'edgedx[cluster]'"
        ) from error
    return pyarrow, pyarrow.parquet


def schema_of(classes: Sequence[str]) -> Any:
    """Columns of the table; one ``p:CLASS`` for each class, float64."""
    pa, _ = parquet()
    text, real = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("sha256", text, nullable=False),
            pa.field("path", pa.binary(), nullable=False),
            pa.field("key", text, nullable=False),
            pa.field("status", text, nullable=False),
            pa.field("code", text),
            pa.field("message", text),
            pa.field("label", text),
            *(pa.field(f"p:{name}", real) for name in classes),
            pa.field("operating_point", text),
            pa.field("prediction_set", pa.list_(text)),
            pa.field("out_of_distribution", pa.bool_()),
            pa.field("distance", real),
            pa.field("energy", real),
            pa.field("frame", pa.int32()),
            pa.field("format", text),
            pa.field("transfer_syntax", text),
            pa.field("sop_instance_uid", text),
            pa.field("bytes", pa.int64(), nullable=False),
            pa.field("variant", text, nullable=False),
            pa.field("provider", text, nullable=False),
        ]
    )


def row_of_missing(error: NotGiven, path: bytes, schema: Any) -> dict[str, Any]:
    """The row of an object that a PACS does not give. It has no content, so no hash: `path`, `code` and `message`."""
    blank = {field.name: None if field.nullable else 0 if field.name == "bytes" else "" for field in schema}
    told = {"path": path, "status": error.code.outcome, "code": error.code.value, "message": error.message}
    return {**blank, **told}


def row_of(result: Result, path: bytes, classes: Sequence[str]) -> dict[str, Any]:
    """A result as a row. The time it took and the day are left out: the same files give the same table."""
    prediction, unlike = result.prediction, result.unlikeness
    return {
        "sha256": result.source.sha256,
        "path": path,
        "key": result.key,
        "status": result.status,
        "code": None if result.reason is None else result.reason.code,
        "message": None if result.reason is None else result.reason.message,
        "label": None if prediction is None else prediction.label,
        **{f"p:{name}": None if prediction is None else prediction.probabilities[name] for name in classes},
        "operating_point": None if prediction is None else prediction.operating_point,
        "prediction_set": None if result.prediction_set is None else result.prediction_set.classes,
        "out_of_distribution": None if unlike is None else unlike.out_of_distribution,
        "distance": None if unlike is None else unlike.distance,
        "energy": None if unlike is None else unlike.energy,
        "frame": result.frame,
        "format": result.source.format,
        "transfer_syntax": result.source.transfer_syntax,
        "sop_instance_uid": result.source.sop_instance_uid,
        "bytes": result.source.bytes,
        "variant": result.runtime.variant,
        "provider": result.runtime.provider,
    }
