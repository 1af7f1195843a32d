"""Server and sites over TLS on loopback: what leaves a site, byte by byte, and who is let in."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certificates
import federation
import numpy as np
import pytest

pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")

import httpx  # noqa: E402
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2  # noqa: E402
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents  # noqa: E402
from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: E402

from edgedx.core.errors import InputOutputError  # noqa: E402
from edgedx.lab.federated import dial as dialling  # noqa: E402
from edgedx.lab.federated.hospital import Calling, take_part  # noqa: E402
from edgedx.lab.federated.keys import new_certificate, new_site_key  # noqa: E402
from edgedx.lab.federated.start import empty_model  # noqa: E402
from edgedx.lab.federated.weights import shapes_of, tensors_of  # noqa: E402
from edgedx.lab.network.checkpoint import load_checkpoint  # noqa: E402

PATHS = {
    "activate-node": fleet_pb2.ActivateNodeRequest,
    "send-node-heartbeat": heartbeat_pb2.SendNodeHeartbeatRequest,
    "pull-messages": fleet_pb2.PullMessagesRequest,
    "pull-object": message_pb2.PullObjectRequest,
    "confirm-message-received": message_pb2.ConfirmMessageReceivedRequest,
    "push-messages": fleet_pb2.PushMessagesRequest,
    "push-object": message_pb2.PushObjectRequest,
    "deactivate-node": fleet_pb2.DeactivateNodeRequest,
}
"""All that a site ever sends, as docs/federated.md lists it. Not among them: get-fab, which would fetch code."""
HEADERS = {
    *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"),
    *("flwr-public-key", "flwr-timestamp", "flwr-signature"),
    *("flwr-package-name", "flwr-package-version", "flwr-component-name"),
}
TOLD_IN_A_ROUND = {"images", "loss", "val_loss", "val_auc", "weight"}
TOLD_AT_THE_END = {"images", "patients", "auc", "low", "high", "weight"}


class Recorder:
    """Every request that leaves by httpx, which is all that Flower's client sends with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.had: dict[str, bytes] = {}  # pieces that came from the server: those it is not sent again
        inner = httpx.Client.send

        def send(client: httpx.Client, request: httpx.Request, **named: Any) -> httpx.Response:
            self.requests.append((request.url.path, dict(request.headers), request.read()))
            response = inner(client, request, **named)
            if request.url.path.endswith("pull-object") and response.is_success:
                asked = message_pb2.PullObjectRequest.FromString(request.content)
                got = message_pb2.PullObjectResponse.FromString(response.read())
                self.had[asked.object_id] = got.object_content
            return response

        monkeypatch.setattr(httpx.Client, "send", send)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital's folder, keys, and the server's certificate."""
    root = tmp_path_factory.mktemp("places")
    federation.write_hospitals(root / "north", hospitals=1, patients=20)
    (root / "sites").mkdir()
    shutil.copy(new_site_key("north", root)[1], root / "sites")
    new_site_key("stranger", root)
    new_certificate("127.0.0.1", root)
    return root


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    yield number


def _take_part(places: Path, name: str, out: Path, port: int, **changed: Any) -> dict[str, Any]:
    calling = Calling(f"127.0.0.1:{port}", changed.get("ca", places / "127.0.0.1.pem"), places / f"{name}.key", name)
    home = places / (name if name != "stranger" else "north")
    recipe = federation.recipe(home, rounds=1, wait_minutes=changed.get("minutes", 5))
    return take_part(recipe, out, calling)


def test_what_leaves_a_site_is_what_the_documentation_lists_and_nothing_else(
    places: Path, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch)
    """One site, as a piece that another has sent is not sent twice."""
    server = federation.start_server(places, tmp_path, f"127.0.0.1:{port}", rounds=1)
    try:
        federation.wait_for(tmp_path / "server.txt", "waiting for 1 site:")
        record = _take_part(places, "north", tmp_path / "north", port)
        assert server.wait(120) == 0, (tmp_path / "server.txt").read_text()
    finally:
        server.kill()
        server.wait()
    report = json.loads((tmp_path / "server/federated.json").read_text())

    # The federation went well: a report by site, weights without thresholds at the server, an ordinary run at a site.
    assert "auc" in report["sites"]["north"]
    assert not load_checkpoint(tmp_path / "server/global").card.operating_points
    assert load_checkpoint(tmp_path / "north/teacher").card.operating_points
    assert record["metrics"]["test"]["images"] == report["sites"]["north"]["images"]

    # Addresses and headers.
    assert {path.removeprefix("/v1/fleet/") for path, _, _ in recorder.requests} == set(PATHS)
    assert {name.lower() for _, headers, _ in recorder.requests for name in headers} <= HEADERS

    shapes = shapes_of(tensors_of(empty_model(federation.recipe(places / "north"))))
    sizes = Counter(path.removeprefix("/v1/fleet/") for path, _, _ in recorder.requests)
    weights = sum(4 * int(np.prod(shape)) for shape in shapes.values())
    pushed = sum(len(body) for path, _, body in recorder.requests if path.endswith("push-object"))
    assert weights < pushed < 1.3 * weights + 50_000, (pushed, weights, sizes)  # weights travel once, and hardly more

    # Contents: each object is one of Flower's records; arrays have the model's shapes, figures are those listed.
    objects: dict[str, bytes] = dict(recorder.had)
    tops: list[str] = []
    for path, _, body in recorder.requests:
        request = PATHS[path.removeprefix("/v1/fleet/")].FromString(body)
        assert not len(UnknownFieldSet(request))
        if path.endswith("push-object"):
            objects[request.object_id] = request.object_content
        if path.endswith("push-messages"):
            tops += [one.metadata.message_id for one in request.messages_list]
            assert all(not one.HasField("error") for one in request.messages_list)
    told: list[set[str]] = []
    assert len(tops) == 2  # of one round, and of the end
    for top in tops:
        message = inflate_object_from_contents(top, objects, keep_object_contents=True)
        assert isinstance(message, Message) and isinstance(message.content, RecordDict)
        for name, part in message.content.items():
            assert not isinstance(part, ConfigRecord)
            if isinstance(part, MetricRecord):
                told.append(set(part))
                assert all(isinstance(value, int | float) for value in part.values())
            else:
                assert name == "arrays" and isinstance(part, ArrayRecord)
                assert {key: array.shape for key, array in part.items()} == shapes
                assert all(isinstance(array, Array) and array.dtype == "float32" for array in part.values())
    assert sorted(map(sorted, told)) == sorted([sorted(TOLD_IN_A_ROUND), sorted(TOLD_AT_THE_END)])

    long = [name for name in (socket.gethostname(),) if len(name) > 6]  # a short one stands in any noise
    # And no name of a file, a patient, a folder or this machine is anywhere in it.
    everything = b"".join(body + repr(headers).encode() for _, headers, body in recorder.requests)
    for name in ("p001", ".png", "labels.csv", str(places), str(tmp_path), "north", *long):
        assert name.encode() not in everything, name


def test_a_site_whose_key_is_not_listed_is_not_let_in(places: Path, tmp_path: Path, port: int) -> None:
    server = federation.start_server(places, tmp_path, f"127.0.0.1:{port}", rounds=1)
    try:
        federation.wait_for(tmp_path / "server.txt", "waiting for 1 site:")
        with pytest.raises(InputOutputError, match="does not take this site's key") as caught:
            _take_part(places, "stranger", tmp_path / "stranger", port, minutes=0.1)
        assert not any("force_exit" in one.name for one in threading.enumerate()), "Flower would end this process"
    finally:
        server.kill()
        server.wait()
    assert ".pub" in str(caught.value.next_step)
    assert "is connected" not in (tmp_path / "server.txt").read_text()


def test_a_server_with_another_certificate_is_not_talked_to(places: Path, tmp_path: Path) -> None:
    """The listener proves itself by a certificate of another authority: nothing is sent but the TLS hello."""
    import ssl

    certificates.make(tmp_path / "other", "authority", "owner")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "other/owner.pem", tmp_path / "other/owner.key")
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                    with context.wrap_socket(plain, server_side=True) as line:
                        received.append(line.recv(1))
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(InputOutputError, match="not to be reached"):
            _take_part(places, "north", tmp_path / "run", listener.getsockname()[1], minutes=0.05)
    assert not [one for one in received if one]


def test_a_failure_at_a_site_is_told_by_a_code_and_never_by_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    from flwr.app import Context
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    message = Message(RecordDict(), 2, "train")
    message.metadata.__dict__["_message_id"] = "1"

    def app(message: Message, context: Context) -> Message:
        raise ValueError("patient Jane Doe has no image")

    reply = dialling.answer(app, message, Context(0, 2, {}, RecordDict(), {}, 0), "north")  # type: ignore[arg-type]
    assert reply.has_error() and reply.error.code == 900 and "Jane" not in str(reply.error.reason)
    said = capsys.readouterr().err
    assert "north: ValueError in test_line.py" in said and "Jane" not in said
