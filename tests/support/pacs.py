"""Archives on loopback: dcmtk's storescp, Orthanc, and a storage SCP of pynetdicom that answers what it is told."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dcmtk import dcmtk

needs_dcmtk = pytest.mark.skipif(dcmtk("storescp") is None, reason="Debian package dcmtk is absent")
needs_orthanc = pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Debian package orthanc is absent")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(done: Callable[[], object], seconds: float = 60.0) -> None:
    """Until something holds; generous, because machines are busy."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _running(command: Sequence[str | Path], port: int, folder: Path) -> Iterator[None]:
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(lambda: _listens(port) or server.poll() is not None)
        assert server.poll() is None, (folder / "server.log").read_text()
        yield
    finally:
        server.kill()
        server.wait()


@contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[Path]:
    """dcmtk's storage SCP; gives the folder that it stores in."""
    stored = folder / "stored"
    stored.mkdir(parents=True, exist_ok=True)
    with _running([str(dcmtk("storescp")), "-od", stored, *options, str(port)], port, folder):
        yield stored


@dataclass(frozen=True)
class Orthanc:
    """An Orthanc that runs."""

    http: int

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=30) as answer:
            return json.load(answer)

    def put(self, file: Path) -> None:
        """Store a DICOM file."""
        address = f"http://127.0.0.1:{self.http}/instances"
        urllib.request.urlopen(urllib.request.Request(address, data=file.read_bytes())).close()

    def delete(self, uid: str) -> None:
        """Remove an object."""
        found = [one["ID"] for one in self.get("instances?expand") if one["MainDicomTags"]["SOPInstanceUID"] == uid]
        address = f"http://127.0.0.1:{self.http}/instances/{found[0]}"
        urllib.request.urlopen(urllib.request.Request(address, method="DELETE")).close()

    def uids(self) -> list[str]:
        """SOP Instance UIDs of all instances."""
        return [one["MainDicomTags"]["SOPInstanceUID"] for one in self.get("instances?expand")]


@contextmanager
def orthanc(
    folder: Path, port: int, *, calling: str = "EDGEDX", plugins: Sequence[Path] = (), sends_to: int = 1, **more: object
) -> Iterator[Orthanc]:
    """An archive that takes objects from one application entity alone; what it holds survives in `folder`.

    Parameters
    ----------
    sends_to : int
        Port of `calling`, for C-MOVE.
    more
        Other settings of Orthanc's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    http = free_port()
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "DicomPort": port,
        "HttpPort": http, "DicomAet": "ORTHANC", "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": False,
        "DicomModalities": {"edgedx": [calling, "127.0.0.1", sends_to]}, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "Plugins": list(map(str, plugins)), "ConcurrentJobs": 1, "HttpThreadsCount": 2,
        **more,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with _running(["Orthanc", folder / "orthanc.json"], port, folder):
        wait_for(lambda: _listens(http))
        yield Orthanc(http)


@contextmanager
def dcmqrscp(folder: Path, port: int, files: Sequence[Path], *options: str, sends_to: int = 1) -> Iterator[None]:
    """dcmtk's small archive, title QRSCP, with these files in it."""
    store = folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    copies = [store / file.name for file in files]
    for file, copy in zip(files, copies, strict=True):
        copy.write_bytes(file.read_bytes())
    subprocess.run([str(dcmtk("dcmqridx")), store, *copies], check=True, capture_output=True)
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nedgedx = (EDGEDX, 127.0.0.1, {sends_to})\nHostTable END\n"
        f"VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {store} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with _running([str(dcmtk("dcmqrscp")), "-c", folder / "dcmqrscp.cfg", *options], port, folder):
        yield


@dataclass
class Stern:
    """An SCP that answers what it is told, and keeps what it took."""

    answers: list[int] = field(default_factory=list)
    took: list[str] = field(default_factory=list)


@contextmanager
def stern(port: int, answers: Sequence[int] = (), **options: Any) -> Iterator[Stern]:
    """A storage SCP of pynetdicom.

    Parameters
    ----------
    answers : sequence of int
        Statuses of the first objects; 0 afterwards.
    options
        ``classes``: SOP classes that it takes; ``called``: title that it insists on; ``ssl_context``.
    """
    from pynetdicom import evt
    from pynetdicom.ae import ApplicationEntity

    scp = Stern(list(answers))

    def store(event: Any) -> int:
        status = scp.answers.pop(0) if scp.answers else 0
        if status == 0:
            scp.took.append(str(event.request.AffectedSOPInstanceUID))
        return status

    entity = ApplicationEntity(ae_title="STERN")
    entity.require_called_aet = "called" in options
    for one in options.get("classes", ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7")):
        entity.add_supported_context(one)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)],
        ssl_context=options.get("ssl_context"), ae_title=options.get("called"),
    )  # fmt: skip
    try:
        yield scp
    finally:
        assert server is not None
        server.shutdown()
