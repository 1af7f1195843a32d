"""A site as Flower's ClientApp: the three questions that it answers, and nothing else.

No code comes from the server, and no setting: a message holds weights and the number of the round, and a site whose
recipe differs from the server's refuses it. What went wrong is told by a code and never by the text of an exception.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from flwr.app import Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from edgedx.core.errors import EdgedxError
from edgedx.core.progress import tell
from edgedx.lab.train.loop import Diverged

from .site import Site
from .start import agreement
from .weights import from_record, problem_of, shapes_of, tensors_of, to_record

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
DIFFERS, UNREADABLE, DIVERGED, FAILED = 901, 902, 903, 900
"""Error codes of edgedx in Flower's messages; Flower's own are below 100."""
REASONS = {
    DIFFERS: "its recipe is not the server's",
    UNREADABLE: "it could not use what it was sent",
    DIVERGED: "its training has diverged",
    FAILED: "it failed; its own log says why",
}


def client_app(site: Site, finish: Callable[[dict[str, Tensor]], None] | None = None) -> ClientApp:
    """The app of a site.

    Parameters
    ----------
    finish : callable, optional
        Is given the finished model's tensors after the last question; it writes the site's own run.
    """
    app = ClientApp()
    everything = shapes_of(tensors_of(site.model))
    agreed = agreement(site.recipe)

    def read(message: Message) -> dict[str, Tensor] | Message:
        record, config = message.content[ARRAYS], message.content[CONFIG]
        if config.get("agreement") != agreed:
            tell(f"{site.name}: refused what the server sent: the recipes differ in what must be the same")
            return _error(message, DIFFERS)
        if (problem := problem_of(record, everything)) is not None:
            tell(f"{site.name}: refused what the server sent: {problem}")
            return _error(message, UNREADABLE)
        return from_record(record)

    @app.train()
    def _train(message: Message, context: Context) -> Message:
        sent = read(message)
        if isinstance(sent, Message):
            return sent
        try:
            tensors, told = site.train(sent, int(message.content[CONFIG]["round"]))
        except Diverged as error:
            tell(f"{site.name}: {error.message}")
            return _error(message, DIVERGED)
        return _reply(message, tensors, told)

    @app.query()
    def _layers(message: Message, context: Context) -> Message:
        """The layers that stay here, once, at the end: they complete the model for others. Never with noise."""
        if (
            message.content[CONFIG].get("agreement") != agreed
            or site.recipe.federated.noise_multiplier
            or not site.local
        ):
            return _error(message, DIFFERS)
        ordered = {name: site.local[name] for name in everything if name in site.local}
        return _reply(message, ordered, {"images": len(site.parts["train"])})

    @app.evaluate()
    def _judge(message: Message, context: Context) -> Message:
        sent = read(message)
        if isinstance(sent, Message):
            return sent
        told = site.judge(sent)
        if finish is not None:
            finish(sent)
        return _reply(message, {}, told)

    return app


def answer(app: ClientApp, message: Message, context: Context, name: str) -> Message:
    """What an app answers, an error where it cannot; Ctrl-C goes through."""
    try:
        return app(message, context)
    except Exception as error:  # the server must hear that there is no answer, but not why: it may name a patient
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
        tell(f"{name}: {error.message if isinstance(error, EdgedxError) else place}")
        return _error(message, FAILED)
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _reply(message: Message, tensors: dict[str, Tensor], told: dict[str, float]) -> Message:
    records: dict[str, object] = {METRICS: MetricRecord({**told, "weight": told["images"]})}
    if tensors:
        records[ARRAYS] = to_record(tensors)
    return Message(RecordDict(records), reply_to=message)


def _error(message: Message, code: int) -> Message:
    return Message(Error(code, REASONS[code]), reply_to=message)
