"""Bodies that come in: bounded in size and in time, so that a client that drips holds nobody."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .limits import Limits

LEAST_RATE = 1024.0
"""Bytes a second, over all of a body, after `Limits.silence_seconds` to begin: slower than any network that works."""


class TooLarge(Exception):
    """A body is larger than its bound."""


class TooSlow(Exception):
    """A body comes in pieces too small or too late."""


def timed(receive: Receive, limits: Limits) -> Receive:
    """`receive`, which raises `TooSlow` where a body is silent, or slower than `LEAST_RATE`, and ended else."""
    begun, got, ended = time.monotonic(), 0, False

    async def next_piece() -> Message:
        nonlocal got, ended
        if ended:  # what is waited for now is the end of the connection
            return await receive()
        allowed = begun + limits.silence_seconds + got / LEAST_RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(limits.silence_seconds, allowed)))
        except asyncio.TimeoutError as error:
            raise TooSlow from error
        got += len(message.get("body", b""))
        ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return next_piece


async def read_whole(receive: Receive, limit: int) -> bytes:
    """A body of at most `limit` bytes.

    Raises
    ------
    TooLarge, TooSlow
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise TooSlow  # gone
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge
        if not message.get("more_body", False):
            return bytes(body)


class LastWord:
    """An answer to a body that is not read to its end.

    A server that closes a connection with unread bytes in it resets it, and the client may never see the answer (RFC
    9112, 9.6): what still comes is thrown away for a moment.

    Parameters
    ----------
    answer : Response
    """

    SECONDS, BYTES = 3.0, 64 << 20

    def __init__(self, answer: Response) -> None:
        self.answer = answer
        answer.headers["Connection"] = "close"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, then listen a little longer."""

        async def unfinished(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await self.answer(scope, receive, unfinished)
        with suppress(TooSlow, asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(receive), self.SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self, receive: Receive) -> None:
        got = 0
        while got < self.BYTES:
            message = await receive()
            got += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return


def again(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives a body which was read already."""
    given = False

    async def once_more() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once_more


def field_of(body: bytes, name: str) -> str:
    """First value of a field of an urlencoded form; empty where it has none, or is no form."""
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return ""
    return fields.get(name, [""])[0]
