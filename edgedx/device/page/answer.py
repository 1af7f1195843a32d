"""What a person says to an image: kept with every version; blind where the model's answer was not shown."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edgedx.device.clinic.answers import LONGEST_NOTE, REASONS

from .image import found, page_of
from .lines import records_of
from .reading.results import ResultFile
from .render import audited


async def answer(request: Request) -> Response:
    """Take an answer, and show the image again, now with all that was hidden."""
    form = await request.form()
    return await run_in_threadpool(_take, request, form)


def _take(request: Request, form: FormData) -> Response:
    row, result = found(request)
    if row.status != "done" or result.label is None:
        return page_of(request, row, result, status=400, problem="answer.nothing_to_say")
    records, person = records_of(request), request.state.person
    hidden = records.is_hidden(row, person.name)
    chosen = _chosen(form, result, hidden)
    if chosen is None:
        return page_of(request, row, result, status=400, problem="answer.choose")
    note = str(form.get("note", "")).replace("\r\n", "\n").strip()
    if len(note) > LONGEST_NOTE:
        return page_of(request, row, result, status=400, problem="answer.too_long")
    reason = str(form.get("reason", ""))
    audited(request, "answer", key=row.key, blind=hidden)
    records.answers.give(
        key=row.key, sha256=row.sha256, bundle=row.bundle, person=person.name, label=chosen[0], shown=result.label,
        blind=hidden, reason=reason if reason in REASONS else None, note=note,
    )  # fmt: skip
    return RedirectResponse(f"/image/{row.key[:32]}#answered", 303)


def _chosen(form: FormData, result: ResultFile, hidden: bool) -> tuple[str | None] | None:
    """The label that the form says, None in it for "cannot tell"; None where it says nothing.

    Classes come as numbers: what is kept is the bundle's own word, never a form's.
    """
    choice = str(form.get("choice", ""))
    if choice == "cannot_tell":
        return (None,)
    if choice == "agree" and not hidden:
        return (result.label,)
    if result.is_multilabel:
        if choice != "these":
            return None
        numbers = [_number(str(one), result) for one in form.getlist("finding")]
        return (
            None
            if None in numbers
            else ("|".join(result.classes[n] for n in sorted({n for n in numbers if n is not None})),)
        )
    number = _number(choice.removeprefix("class-"), result)
    return None if number is None else (result.classes[number],)


def _number(text: str, result: ResultFile) -> int | None:
    plain = text.isascii() and text.isdigit() and len(text) < 6
    return int(text) if plain and int(text) < len(result.classes) else None


routes = [Route("/image/{key}/answer", answer, methods=["POST"], name="answer")]
