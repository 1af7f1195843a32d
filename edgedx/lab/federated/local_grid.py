"""Messages to sites that live in this process, one after another: for simulations, which need no Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from .app import answer


class LocalGrid(Grid):
    """Flower's grid over apps in this process.

    Parameters
    ----------
    apps : mapping of int to ClientApp
        By node id.
    """

    def __init__(self, apps: Mapping[int, ClientApp], names: Mapping[int, str]) -> None:
        self.apps, self.names = apps, names
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # whom messages come from
        self.replies: dict[str, Message] = {}
        self.contexts = {node: Context(0, node, {}, RecordDict(), {}, 0) for node in apps}

    def get_node_ids(self) -> Iterable[int]:
        """All of them."""
        return list(self.apps)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Ask one site after another; `timeout` is not needed, as an app here answers or fails."""
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = f"{node}-{len(self.replies)}"
            replies.append(answer(self.apps[node], message, self.contexts[node], self.names[node]))
        return replies

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Ask, and keep the answers."""
        ids = []
        for reply in self.send_and_receive(messages):
            self.replies[str(len(self.replies))] = reply
            ids.append(str(len(self.replies) - 1))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that were kept."""
        return [self.replies.pop(one) for one in message_ids if one in self.replies]

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """See `Grid`."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def set_run(self, run: Run) -> None:
        """Nothing: there is one run."""

    @property
    def run(self) -> Run:
        """There is none to ask about."""
        raise NotImplementedError
