"""The server's end of the line: Flower's Fleet API over TLS, for the sites on a list of keys, and nothing else of it.

Flower's own `flower-superlink` also takes applications from people and ships their code to the sites. Here neither
exists: the one thing served is the Fleet API, no code is stored that a site could ask for, and messages are put
straight into Flower's state by the process that runs the strategy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.server.superlink.linkstate import LinkState
from flwr.serverapp import Grid
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.error import http_error_translator
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from edgedx.core.errors import InputOutputError
from edgedx.core.progress import tell

_BLINK_S = 0.5
_START_S = 30.0
_PARTING_S = 20.0


class LinkGrid(Grid):
    """Flower's grid on the state that sites are served from, in this process.

    Parameters
    ----------
    names : mapping of int to str
        Node ids to names of sites.
    least, wait_s : int, float
        So many sites are waited for, and how long.
    """

    def __init__(self, state: LinkState, names: Mapping[int, str], least: int, wait_s: float) -> None:
        self.state, self.names, self.least, self.wait_s = state, names, least, wait_s
        # A run and a task of Flower's without an application: what messages belong to.
        self.run_id = state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        self.task = state.get_run_info(run_ids=[self.run_id])[0].primary_task_id
        state.claim_task(self.task)
        state.activate_task(self.task)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self.run_id, SUPERLINK_NODE_ID, self.task
        self.here: set[int] = set()
        self.asked: dict[str, int] = {}
        self.coming: dict[str, Message] = {}

    def wait_for_sites(self) -> None:
        """Until all are connected, or as many as are needed when the time is over.

        Raises
        ------
        InputOutputError
            Too few came.
        """
        many = "site" if len(self.names) == 1 else "sites"
        tell(f"waiting for {len(self.names)} {many}: {', '.join(sorted(self.names.values()))}")
        until = time.monotonic() + self.wait_s
        while len(self._connected()) < len(self.names) and time.monotonic() < until:
            time.sleep(_BLINK_S)
        self.get_node_ids()

    def get_node_ids(self) -> Iterable[int]:
        """Sites that are connected, once there are enough (see `wait_for_sites`)."""
        until = time.monotonic() + self.wait_s
        while len(connected := self._connected()) < self.least:
            if time.monotonic() > until:
                raise InputOutputError(
                    f"{len(connected)} of {len(self.names)} sites are connected, {self.least} are needed",
                    next_step="look at the sites' logs, then go on with --resume",
                )
            time.sleep(_BLINK_S)
        return connected

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Lay messages ready for their sites, which fetch them."""
        ids = []
        with no_object_id_recompute():
            for message in messages:
                message.metadata.__dict__["_message_id"] = message.object_id
                objects = get_all_nested_objects(message)
                session = self.state.start_session(self.run_id)
                stored, missing = self.state.store_message_and_object_tree(
                    remove_content_from_message(message), get_object_tree(message), session
                )
                for one in missing if stored else []:
                    self.state.store_object(self.run_id, session, one, objects[one].deflate())
                if stored:
                    ids.append(message.metadata.message_id)
                    self.asked[message.metadata.message_id] = message.metadata.dst_node_id
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there in whole."""
        # Flower's state gives an answer out once, as soon as it is announced; its content comes after it. An error is
        # whole as it is: the site's own, or Flower's, that the site is not there any more.
        new = self.state.get_message_res(message_ids=set(message_ids), run_id=self.run_id)
        announced = {one.metadata.reply_to_message_id: one for one in new if one.has_error()}
        announced |= self.coming
        announced |= {one.metadata.reply_to_message_id: one for one in new if not one.has_error()}
        gone = {one.metadata.reply_to_message_id: one for one in new if one.has_error()}
        ready: list[Message] = []
        self.coming = {}
        for asked, message in announced.items():
            whole = message if message.has_error() else self._whole(message) or gone.get(asked)
            if whole is None:
                self.coming[asked] = message
                continue
            # Who answers is who was asked, whatever the message says of itself.
            whole.metadata.__dict__["_src_node_id"] = self.asked[asked]
            ready.append(whole)
        self.state.delete_messages(message_ins_ids={one.metadata.reply_to_message_id for one in ready})
        return ready

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send, and wait for the answers of all, of those that are left, or for the end of the time."""
        self.coming = {}  # what a round before did not wait for
        waiting = set(self.push_messages(messages))
        until = time.monotonic() + (timeout if timeout is not None else float("inf"))
        replies: list[Message] = []
        while waiting and time.monotonic() < until:
            self._connected()
            got = list(self.pull_messages(waiting))
            replies += got
            waiting -= {one.metadata.reply_to_message_id for one in got}
            if waiting:
                time.sleep(_BLINK_S)
        return replies

    def let_go(self) -> None:
        """Give sites the time to hear that their last answer came, and to go."""
        until = time.monotonic() + _PARTING_S
        while self._connected() and time.monotonic() < until:
            time.sleep(_BLINK_S)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """See `Grid`."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def set_run(self, run: Run) -> None:
        """Nothing: it is made here."""

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self.state.get_run_info(run_ids=[self.run_id])[0]

    def _connected(self) -> list[int]:
        self.state.acknowledge_task_heartbeat(self.task)
        connected = set(self.state.get_nodes(self.run_id)) & set(self.names)
        for node in connected - self.here:
            tell(f"{self.names[node]} is connected")
        for node in self.here - connected:
            tell(f"{self.names[node]} is not there any more")
        self.here = connected
        return sorted(connected)

    def _whole(self, message: Message) -> Message | None:
        """A message with its content, once all of that has come."""
        identifier = message.metadata.message_id
        tree = self.state.object_store.get_object_tree(identifier)
        contents: dict[str, bytes] = {}
        for one in iterate_object_tree(tree):
            content = self.state.get_object(self.run_id, one.object_id)
            if not content:
                return None
            contents[one.object_id] = content
        whole = inflate_object_from_contents(identifier, contents)
        assert isinstance(whole, Message)
        whole.metadata.__dict__["_message_id"] = identifier
        self.state.object_store.delete(identifier)
        return whole


@contextmanager
def serve(
    address: tuple[str, int], certificate: Path, key: Path, sites: Mapping[str, bytes], least: int, wait_s: float
) -> Iterator[LinkGrid]:
    """Serve the sites whose public keys (PEM) are listed; the grid reaches them.

    Parameters
    ----------
    address : tuple of str and int
        Host and port to listen at.
    certificate, key : Path
        PEM files of the server's TLS.

    Raises
    ------
    InputOutputError
        The port is taken, or the certificate cannot be used.
    """
    _, factory = get_objectstore_linkstate_factories(FLWR_IN_MEMORY_DB_NAME, get_federation_manager())
    state = factory.state()
    names = {
        state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public, 0, name=name): name
        for name, public in sites.items()
    }
    server = uvicorn.Server(
        uvicorn.Config(
            _app(factory),
            host=address[0],
            port=address[1],
            ssl_certfile=certificate,
            ssl_keyfile=key,
            log_level="error",
            access_log=False,
            workers=1,
            server_header=False,
        )  # fmt: skip
    )
    failure: list[BaseException] = []

    def work() -> None:
        try:
            server.run()
        except BaseException as error:  # uvicorn ends with SystemExit where the port is taken
            failure.append(error)

    thread = threading.Thread(target=work, name="fleet", daemon=True)
    thread.start()
    until = time.monotonic() + _START_S
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.05)
    if not server.started:
        why = f": {failure[0]}" if failure and not isinstance(failure[0], SystemExit) else ""
        raise InputOutputError(
            f"cannot serve at {address[0]}:{address[1]}{why}",
            next_step="another --listen HOST:PORT, or look at --tls-certificate and --tls-key",
        )
    grid = LinkGrid(state, names, least, wait_s)
    try:
        yield grid
    finally:
        server.should_exit = True
        thread.join(5)


def _app(factory: Any) -> FastAPI:
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
            Middleware(ProtobufTranslationMiddleware),
            Middleware(NodeAuthMiddleware),
        ],
    )
    app.state.linkstate_factory = factory
    app.state.enable_supernode_auth = True  # a site cannot put itself on the list
    app.state.fleet_event_log_plugin = None
    app.include_router(router)
    return app
