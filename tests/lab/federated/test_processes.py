"""A server and three sites as processes of their own, over TLS; one site is killed in the middle of a round."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import federation
import pytest

pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")

from edgedx.lab.federated.keys import new_certificate, new_site_key  # noqa: E402
from edgedx.lab.network.checkpoint import load_checkpoint  # noqa: E402

SITES = ("north", "south", "west")


@pytest.mark.slow
def test_a_site_that_is_killed_is_left_out_and_the_others_end_well(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    for name in SITES:
        federation.write_hospitals(tmp_path / name, hospitals=1, patients=40)
        shutil.copy(new_site_key(name, tmp_path)[1], tmp_path / "sites")
    new_certificate("127.0.0.1", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    runs = tmp_path / "runs"
    runs.mkdir()
    settings = {"rounds": 4, "wait_minutes": 5}
    server = federation.start_server(tmp_path, runs, address, **settings)
    sites = {name: federation.start_site(tmp_path, runs, address, name, **settings) for name in SITES}
    try:
        federation.wait_for(runs / "server.txt", "round 1 of 4")
        federation.wait_for(runs / "west.txt", "west, round 2")
        os.kill(sites["west"].pid, signal.SIGKILL)
        assert server.wait(400) == 0, (runs / "server.txt").read_text()
        assert [sites[name].wait(120) for name in ("north", "south")] == [0, 0]
    finally:
        for one in (server, *sites.values()):
            one.kill()
            one.wait()

    report = json.loads((runs / "server/federated.json").read_text())
    assert all(line["combined"] for line in report["rounds"]) and len(report["rounds"]) == 4
    assert "loss" in report["rounds"][0]["sites"]["west"]
    lost = [line["round"] for line in report["rounds"] if line["sites"].get("west", {}).get("problem")]
    assert lost == [2]
    assert "auc" in report["sites"]["north"] and "problem" in report["sites"]["west"]
    for name in ("north", "south"):
        assert load_checkpoint(runs / name / "teacher").card.operating_points
    assert not list((runs / "west/teacher").glob("model.*"))
