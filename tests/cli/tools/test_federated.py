"""`edgedx federated` as it is typed."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import federation
import pytest
import yaml
from inprocess import edgedx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures of two hospitals and a recipe of theirs."""
    federation.write_hospitals(tmp_path / "set", hospitals=2, patients=40)
    recipe = federation.recipe(tmp_path / "set", rounds=1)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return tmp_path


def test_simulate_tells_the_figures_by_site_and_what_comes_next(folder: Path) -> None:
    pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")
    done = edgedx(folder, "federated", "simulate", "two.yaml", "--by", "hospital", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "h0" in done.stdout and "h1" in done.stdout and "1 of 1 combined" in done.stdout
    assert "edgedx compress run" in done.stdout and "not a medical device" in done.stderr
    again = edgedx(folder, "federated", "simulate", "two.yaml", "--by", "hospital", "--out", "run", "--json")
    assert json.loads(again.stdout)["sites"].keys() == {"h0", "h1"}


def test_a_federated_run_goes_through_compress_gate_and_deploy(tmp_path: Path) -> None:
    """And the bundle is that of the CPU here, in INT8, and answers for an image of each hospital."""
    pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")
    federation.write_hospitals(tmp_path / "set", hospitals=2, patients=120)
    raw = federation.recipe(tmp_path / "set", rounds=8, epochs=2).model_dump(mode="json")
    raw["train"]["learning_rate"] = raw["student"]["learning_rate"] = 0.005
    raw["student"]["epochs"] = 8
    raw["gate"]["max_auc_drop"] = 0.1  # 24 images in val
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(raw))
    for arguments in (
        ("federated", "simulate", "two.yaml", "--by", "hospital", "--out", "run"),
        ("compress", "run", "--int8"),
        ("gate", "run"),
        ("deploy", "run", "--target", "cpu"),
    ):
        done = edgedx(tmp_path, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    (bundle,) = tmp_path.glob("run/devices/*/bundle/*.edgedx")
    dark, bright = "set/images/p000-0.png", "set/images/p011-0.png"
    done = edgedx(tmp_path, "predict", dark, bright, "--bundle", str(bundle), "--json")
    assert done.returncode == 0, done.stderr
    assert [one["label"] for one in json.loads(done.stdout)["predictions"]] == ["dark", "bright"]


def test_a_missing_flower_is_named_with_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flwr.app", None)
    done = edgedx(folder, "federated", "simulate", "two.yaml", "--sites", "2")
    assert done.returncode == 3
    assert "federated training needs the package flwr" in done.stderr and "edgedx[federated]" in done.stderr


def test_an_older_python_is_named_before_a_package_that_pip_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 14, "final", 0))
    done = edgedx(folder, "federated", "simulate", "two.yaml", "--sites", "2")
    assert done.returncode == 3
    assert "needs Python 3.11 or later" in done.stderr and "later Python" in done.stderr


def test_keys_are_made_once_and_the_secret_is_readable_by_its_owner_alone(folder: Path) -> None:
    done = edgedx(folder, "federated", "key", "north", "--json")
    assert json.loads(done.stdout) == {"secret": "north.key", "public": "north.pub"}
    assert stat.S_IMODE(os.stat(folder / "north.key").st_mode) == 0o600
    assert b"PRIVATE" not in (folder / "north.pub").read_bytes()
    again = edgedx(folder, "federated", "key", "north")
    assert again.returncode == 2 and "there already" in again.stderr
    assert edgedx(folder, "federated", "key", "../north").returncode == 2


def test_a_server_without_listed_sites_says_how_they_are_listed(folder: Path) -> None:
    pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")
    assert edgedx(folder, "federated", "certificate", "localhost").returncode == 0
    (folder / "keys").mkdir()
    arguments = ("two.yaml", "--tls-certificate", "localhost.pem", "--tls-key", "localhost.key", "--keys", "keys")
    done = edgedx(folder, "federated", "server", *arguments)
    assert done.returncode == 2 and "no site may take part" in done.stderr and "edgedx federated key" in done.stderr
    done = edgedx(folder, "federated", "server", *arguments, "--listen", "nowhere")
    assert done.returncode == 2 and "not HOST:PORT" in done.stderr


def test_a_site_names_the_file_that_is_not_there(folder: Path) -> None:
    pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")
    done = edgedx(
        folder, "federated", "site", "two.yaml", "--server", "localhost:9092", "--ca", "no.pem", "--site-key", "no.key"
    )
    assert done.returncode == 5 and "no.pem" in done.stderr
