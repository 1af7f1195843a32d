"""pydantic's complaints to sentences that name the field and, for an unknown key, the nearest known one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_COMPLAINTS = 5
_TYPO = 0.8  # difflib ratio of one or two letters changed in a word
_SIMILAR = 0.55


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Say what is wrong with a file of settings.

    Parameters
    ----------
    error : ValidationError
        Raised while validating against `model`.
    model : type of BaseModel
        The model at the root of the file.
    where : str
        What is wrong: the file, or a word for it.

    Returns
    -------
    str
        ``where: gpu.smm: unknown key; did you mean 'gpu.sm'?``. Unknown keys come first, because a mistyped key
        also makes the right one appear missing. Each further complaint is on a line of its own, five at most.
    """
    details = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    complaints = [_complaint(item, model) for item in details[:MAX_COMPLAINTS]]
    if len(details) > MAX_COMPLAINTS:
        complaints.append(f"and {len(details) - MAX_COMPLAINTS} more")
    return f"{where}: " + "\n  ".join(complaints)


def _complaint(item: ErrorDetails, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        *parents, key = item["loc"]
        parent, annotation = _resolve(parents, model)
        prefix = f"{parent}." if parent else ""
        return f"{prefix}{key}: unknown key; {_suggest(str(key), prefix, _models(annotation), model)}"
    path, _ = _resolve(item["loc"], model)
    prefix = f"{path}: " if path else ""
    if item["type"] == "missing":
        return f"{prefix}required, and not there"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return prefix + message
    return f"{prefix}{message[:1].lower()}{message[1:]}{_given(item['input'])}"


def _given(value: Any) -> str:
    """The value that was refused, where it is short enough to be read."""
    if value is None or isinstance(value, str | int | float):
        shown = repr(value)
        return f", not {shown}" if len(shown) <= 60 else ""
    return ""


def _suggest(key: str, prefix: str, holders: Iterable[type[BaseModel]], root: type[BaseModel]) -> str:
    known = sorted({name for holder in holders for name in _fields(holder)})
    if near := difflib.get_close_matches(key, known, n=1, cutoff=_TYPO):
        return f"did you mean {prefix + near[0]!r}?"
    if elsewhere := [path for path in _paths(root) if path.rpartition(".")[2] == key]:
        return f"it belongs at {elsewhere[0]!r}"
    if near := difflib.get_close_matches(key, known, n=1, cutoff=_SIMILAR):
        return f"did you mean {prefix + near[0]!r}?"
    return f"known here: {', '.join(known)}"


def _resolve(location: Iterable[int | str], root: type[BaseModel]) -> tuple[str, Any]:
    """Path as a reader would write it, and the annotation found there.

    pydantic's location holds more than keys: it names the branch of a union too. Those are used to choose the
    branch and left out of the path.
    """
    path, annotation = "", root
    for part in location:
        if isinstance(part, int):
            path, annotation = f"{path}[{part}]", _element(annotation)
            continue
        models = _models(annotation)
        field = next((found for holder in models if (found := _fields(holder).get(part)) is not None), None)
        branch = next((holder for holder in models if part in _tags(holder)), None)
        if field is not None:
            annotation = field
        elif branch is not None and len(models) > 1:
            annotation = branch
            continue
        elif (value := _mapping_value(annotation)) is not None:
            annotation = value
        elif not models:
            continue  # a branch of a union of plain types, or pydantic's name for a validator
        path = f"{path}.{part}" if path else part
    return path, annotation


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Keys that a file may use for `model` (the alias, where there is one) and their annotations."""
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _tags(model: type[BaseModel]) -> set[str]:
    """What pydantic calls this branch of a union: its class, or the value of the field that discriminates."""
    kinds = [annotation for annotation in _fields(model).values() if get_origin(annotation) is Literal]
    return {model.__name__, *(str(value) for kind in kinds for value in get_args(kind))}


def _branches(annotation: Any) -> list[Any]:
    """`annotation` without Optional, Union and Annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _branches(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return [branch for argument in get_args(annotation) for branch in _branches(argument)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [item for item in _branches(annotation) if isinstance(item, type) and issubclass(item, BaseModel)]


def _element(annotation: Any) -> Any:
    """Annotation of the items of a list, tuple or set."""
    for branch in _branches(annotation):
        if get_origin(branch) in (list, tuple, set, frozenset) and get_args(branch):
            return get_args(branch)[0]
    return Any


def _mapping_value(annotation: Any) -> Any:
    for branch in _branches(annotation):
        if get_origin(branch) in (dict, Mapping):
            return get_args(branch)[1]
    return None


def _paths(model: type[BaseModel], prefix: str = "", above: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """Dotted path of every key below `model`; a model inside itself is entered once."""
    for key, annotation in _fields(model).items():
        yield prefix + key
        for inner in _models(annotation):
            if inner not in above:
                yield from _paths(inner, f"{prefix}{key}.", (*above, model))
