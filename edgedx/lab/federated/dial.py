"""A site's end of the line: it dials out, fetches what is asked, and answers. Nothing listens at a hospital.

Flower's own `flower-supernode` fetches an application from the server and runs it. Here the code is edgedx's, as it is
installed at the site: `get_fab`, which would fetch it, is never called.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, pull_objects, push_objects
from flwr.supernode import fleet_http_connection

from edgedx.core.errors import InputOutputError
from edgedx.core.progress import tell

from .app import answer

_BLINK_S = 1.0
_PARTING_S = 3.0
"""From the last answer to leaving, so that the server has taken it before the site is seen to be gone."""


def dial(
    server: str,
    ca: Path,
    key: ec.EllipticCurvePrivateKey,
    app: ClientApp,
    name: str,
    *,
    wait_s: float,
    done: Callable[[], bool],
) -> None:
    """Answer the server at `server` (HOST:PORT) until `done`.

    Parameters
    ----------
    ca : Path
        PEM certificate that the server's own is checked against.
    wait_s : float
        Longest time without the server before it is given up.

    Raises
    ------
    InputOutputError
        It cannot be reached, does not know this key, or its certificate is another.
    """
    failure: list[BaseException] = []
    finished = False
    # Flower's own would end this process, whatever else it does, by a thread and five seconds later.
    fleet_http_connection.flwr_exit = _refused
    try:
        with fleet_http_connection.http_request_response(
            server, False, ca.read_bytes(), (key, key.public_key()), max_wait_time=wait_s
        ) as connection:
            try:
                _answer_all(connection, app, name, done)
                finished = True
            except BaseException as error:  # Flower would log it and end as if nothing had been
                failure.append(error)
    except ConnectionRefusedError as error:
        failure.append(error)
    if failure and not isinstance(failure[0], Exception):
        raise failure[0]
    if not finished:
        kind = type(failure[0]).__name__ if failure else "no connection"
        raise InputOutputError(
            f"the federation's server at {server} is not to be reached any more, or does not take this site's key "
            f"({kind})",
            next_step="check the address, --ca and that the server lists this site's .pub; then repeat the command",
        ) from (failure[0] if failure else None)


def _refused(code: int, message: str | None = None, *_: Any, **__: Any) -> NoReturn:
    raise ConnectionRefusedError(code, message)


def _answer_all(connection: tuple, app: ClientApp, name: str, done: Callable[[], bool]) -> None:  # type: ignore[type-arg]
    node, receive, send, _get_run, _get_fab, pull_object, push_object, confirm = connection
    context = Context(0, node, {}, RecordDict(), {}, 0)
    tell(f"{name}: connected; Ctrl-C leaves the federation")
    while not done():
        got = receive()
        if got is None:
            time.sleep(_BLINK_S)
            continue
        asked, tree = got
        run = asked.metadata.run_id
        contents = pull_objects(
            [one.object_id for one in iterate_object_tree(tree)], lambda one, run=run: pull_object(run, one)
        )
        identifier = asked.metadata.message_id
        confirm(run, identifier)
        message = inflate_object_from_contents(identifier, contents)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = identifier
        began = time.monotonic()
        reply = answer(app, message, context, name)
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            objects, reply_tree = get_all_nested_objects(reply), get_object_tree(reply)
            bare = remove_content_from_message(reply) if reply.has_content() else reply
            wanted, session = send(bare, reply_tree, time.monotonic() - began)
            push_objects(
                objects,
                lambda one, content, run=run, session=session: push_object(run, session, one, content),
                object_ids_to_push=set(wanted),
            )
    time.sleep(_PARTING_S)
