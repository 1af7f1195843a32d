"""`edgedx push` against a real sshd on the loopback.

Here the device is this machine. Its environment is really made from a wheelhouse, but of two wheels only (edgedx and
pip): the others are lent to it by PYTHONPATH, which saves half a minute. `test_offline.py` installs all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import sshd
from bundles import golden, model, png, write_tiny
from inprocess import Done, edgedx

from edgedx.core.errors import InputOutputError, MissingError, ProfileError, StorageError, UsageError
from edgedx.core.files import sha256_file
from edgedx.core.settings.profile import load_profile
from edgedx.lab.remote.device_facts import DeviceFacts, check_fits, probe
from edgedx.lab.remote.own_wheel import own_wheel, repack
from edgedx.lab.remote.ssh import Remote
from edgedx.lab.remote.wheel_target import wheel_target
from edgedx.lab.remote.wheelhouse import Wheelhouse, describe, read_wheelhouse

pytestmark = pytest.mark.skipif(bool(sshd.absent()), reason=str(sshd.absent()))
LENT = Path(str(distribution("numpy").locate_file("")))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """Two wheels: edgedx as it is here, and the pip of this environment."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    own_wheel(folder)
    repack("pip", folder)
    profile = load_profile("x86-avx2" if os.uname().machine == "x86_64" else "arm64")
    describe(profile, wheel_target(profile, sshd.PYTHON), folder, [])
    return read_wheelhouse(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    with sshd.server(tmp_path_factory.mktemp("sshd"), python_path=LENT) as running:
        yield running


@pytest.fixture
def remote(server: sshd.Sshd) -> Iterator[Remote]:
    with Remote("device", ssh_config=server.config) as connection:
        yield connection


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network, which says bright or dark, and promises an AUC of 1 on bright and dark images."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.edgedx"
    write_tiny(path, metrics={"test_auc": 1.0, "test_accuracy": 1.0}, gate={"budget": 0.05})
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for seed in range(6):
        png(folder / "dark" / f"patient {seed}.png", seed, bright=False)
        png(folder / "bright" / f"patient {seed}.png", 10 + seed, bright=True)
    return folder


def deploy(where: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse, root: Path, *more: str | Path) -> Done:
    options = ["--ssh-config", server.config, "--wheelhouse", house.folder, "--folder", root, *more]
    if "--pin" not in more:
        options.append("--allow-unsigned")
    return edgedx(where, "push", str(bundle), "device", *map(str, options))


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, server: sshd.Sshd, bundle: Path, house: Wheelhouse, samples: Path
) -> tuple[Path, dict[str, Any]]:
    """A first deploy with labelled samples, into a folder whose name a shell would take apart; its root and record."""
    where = tmp_path_factory.mktemp("device")
    root = where / "with two  spaces"
    done = deploy(where, server, bundle, house, root, "--data", samples, "--json")
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout)


def test_a_deploy_installs_proves_and_judges_on_the_device(deployed: tuple[Path, dict[str, Any]]) -> None:
    root, found = deployed
    assert found["doctor"]["fit"] is True
    assert found["installed"]["golden_difference"] <= 1e-4
    assert found["latency"]["p50_ms"] > 0
    assert found["verdict"]["answered"] == found["verdict"]["samples"] == 12
    assert found["verdict"]["auc"]["value"] == 1.0
    assert found["verdict"]["passed"] is True
    assert found["seconds"]["total"] >= found["seconds"]["environment"] > 0
    assert (root / "venv").resolve().name == found["environment"]
    assert (root / "bundle/current").exists()


def test_edgedx_on_the_device_is_that_of_the_wheel(deployed: tuple[Path, dict[str, Any]]) -> None:
    packages = next(deployed[0].glob("venv/lib/python3*/site-packages"))
    assert (packages / "edgedx/_data/devices/orin-nano-8gb.yaml").is_file()
    assert not (packages / "numpy").exists()


def test_samples_and_wheels_do_not_stay_there(deployed: tuple[Path, dict[str, Any]]) -> None:
    assert sorted(path.name for path in deployed[0].glob("[!.]*") if not path.name.startswith("venv")) == [
        "bundle",
        "incoming",
    ]


def test_again_with_nothing_new_sends_and_installs_nothing(
    tmp_path: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse, deployed: tuple[Path, dict[str, Any]]
) -> None:
    root, first = deployed
    made = (root / first["environment"]).stat().st_ctime_ns
    done = deploy(tmp_path, server, bundle, house, root)
    assert done.returncode == 0, done.stderr
    assert "0.0 MB sent" in done.stdout
    assert "golden samples" in done.stdout
    assert (root / first["environment"]).stat().st_ctime_ns == made


def test_a_gate_that_says_no_exits_with_1(
    tmp_path: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse, deployed: tuple[Path, dict[str, Any]]
) -> None:
    rows = ["image,label"]
    for seed in range(6):  # labels the wrong way round
        png(tmp_path / f"{seed}.png", seed, bright=bool(seed % 2))
        rows.append(f"{seed}.png,{'dark' if seed % 2 else 'bright'}")
    (tmp_path / "samples.csv").write_text("\n".join(rows))
    done = deploy(tmp_path, server, bundle, house, deployed[0], "--data", tmp_path / "samples.csv")
    assert done.returncode == 1
    assert "the gate on device says no: AUC on the samples is 0.000" in done.stderr
    assert not list(deployed[0].glob("gate-*"))


def test_a_bundle_that_computes_otherwise_there_is_refused_and_the_one_before_stays(
    tmp_path: Path, server: sshd.Sshd, house: Wheelhouse, deployed: tuple[Path, dict[str, Any]]
) -> None:
    root = deployed[0]
    before = os.readlink(root / "bundle/current")
    network = model(2.0)
    write_tiny(tmp_path / "other.edgedx", network=network, samples=golden(network, shift=1.0))
    done = deploy(tmp_path, server, tmp_path / "other.edgedx", house, root)
    assert done.returncode == 1
    assert "this machine computes other values" in done.stderr
    assert os.readlink(root / "bundle/current") == before


def test_a_worse_bundle_is_taken_back_where_another_was_before(
    tmp_path: Path,
    server: sshd.Sshd,
    bundle: Path,
    house: Wheelhouse,
    samples: Path,
    deployed: tuple[Path, dict[str, Any]],
) -> None:
    """A network that takes bright for dark, and says so in its golden samples: only labelled images can tell."""
    root = deployed[0]
    network = model(-1.0)
    write_tiny(
        tmp_path / "worse.edgedx", network=network, version="2", metrics={"test_auc": 0.99}, gate={"budget": 0.05}
    )
    done = deploy(tmp_path, server, tmp_path / "worse.edgedx", house, root, "--data", samples)
    assert done.returncode == 1
    assert "AUC on the samples is 0.000" in done.stderr
    assert "active again  tiny 1" in " ".join(done.stdout.split("\n")).replace("       ", "  ")
    status = edgedx(tmp_path, "status", "--root", str(root / "bundle"), "--json")
    assert json.loads(status.stdout)["active"]["version"] == "1"


def test_a_signed_bundle_goes_to_a_device_that_is_told_whom_to_trust(
    tmp_path: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse
) -> None:
    pytest.importorskip("cryptography")
    for name in ("release", "spare", "stranger"):
        assert edgedx(tmp_path, "keys", "new", name).returncode == 0
    signed = Path(shutil.copy(bundle, tmp_path / "signed.edgedx"))
    assert edgedx(tmp_path, "keys", "sign", str(signed), "--key", "release.key").returncode == 0
    pins = ["--pin", tmp_path / "release.pub", "--pin", tmp_path / "spare.pub", "--json"]
    done = deploy(tmp_path, server, signed, house, tmp_path / "root", *pins)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["installed"]["signed_by"].startswith("release")
    unsigned = deploy(tmp_path, server, bundle, house, tmp_path / "root")
    assert unsigned.returncode == 1, "--allow-unsigned is for devices that trust nobody yet"


def with_broken_edgedx(house: Wheelhouse, folder: Path) -> Wheelhouse:
    """The same wheelhouse with an edgedx that does not start; its hashes are right."""
    shutil.copytree(house.folder, folder)
    (own,) = folder.glob("edgedx-*.whl")
    with zipfile.ZipFile(own) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["edgedx/cli/app.py"] = b"raise RuntimeError('broken on purpose')\n"
    with zipfile.ZipFile(own, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    describe(load_profile(house.device), house.target, folder, [])
    return read_wheelhouse(folder)


def test_an_environment_that_does_not_work_never_replaces_one_that_does(
    tmp_path: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse, deployed: tuple[Path, dict[str, Any]]
) -> None:
    root = deployed[0]
    before = os.readlink(root / "venv")
    done = deploy(tmp_path, server, bundle, with_broken_edgedx(house, tmp_path / "broken"), root)
    assert done.returncode == 5
    assert "broken on purpose" in done.stderr
    assert os.readlink(root / "venv") == before
    assert [path.name for path in root.glob("venv-*")] == [before]


def test_another_deploy_at_work_there_is_not_disturbed(
    tmp_path: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse, remote: Remote
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    holder = remote.shell('flock -n "$1/.deploy.lock" sleep 20 >/dev/null 2>&1 & echo $!', str(root))
    try:
        done = deploy(tmp_path, server, bundle, house, root)
    finally:
        remote.shell('kill "$1"', holder.stdout.strip(), check=False)
    assert done.returncode == 2
    assert "another push is at work there" in done.stderr


@pytest.mark.parametrize("with_rsync", [True, False], ids=["rsync", "tar"])
def test_a_copy_goes_on_where_it_broke_off_and_repairs_what_is_damaged(tmp_path: Path, with_rsync: bool) -> None:
    if with_rsync and shutil.which("rsync") is None:
        pytest.skip("no rsync here: apt-get install rsync")
    sources = {}
    for number in range(3):
        path = tmp_path / f"source {number}"
        path.write_bytes(os.urandom(200_000))
        sources[f"{number}.whl"] = (path, sha256_file(path))
    target = tmp_path / "there it's"
    target.mkdir()
    shutil.copy(sources["0.whl"][0], target / "0.whl")
    (target / "1.whl").write_bytes(sources["1.whl"][0].read_bytes()[:1000])  # broken off
    with sshd.server(tmp_path / "sshd", with_rsync=with_rsync) as own, Remote("device", ssh_config=own.config) as to:
        kept = (target / "0.whl").stat().st_ino
        assert to.copy(sources, str(target), rsync=with_rsync) == 400_000
        assert {name: sha256_file(target / name) for name in sources} == {n: h for n, (_, h) in sources.items()}
        assert (target / "0.whl").stat().st_ino == kept
        assert to.copy(sources, str(target), rsync=with_rsync) == 0


@pytest.mark.parametrize("with_rsync", [True, False], ids=["rsync", "tar"])
def test_a_full_disk_there_is_said_so(small_disk: Path, tmp_path: Path, server: sshd.Sshd, with_rsync: bool) -> None:
    if with_rsync and shutil.which("rsync") is None:
        pytest.skip("no rsync here: apt-get install rsync")
    big = tmp_path / "big"
    big.write_bytes(os.urandom(2_000_000))
    with Remote("device", ssh_config=server.config) as to, pytest.raises(StorageError, match="the disk is full"):
        to.copy({"big.whl": (big, sha256_file(big))}, str(small_disk / "wheels"), rsync=with_rsync)


def test_too_little_space_is_refused_before_anything_is_sent(
    small_disk: Path, tmp_path: Path, server: sshd.Sshd, bundle: Path, house: Wheelhouse
) -> None:
    done = deploy(tmp_path, server, bundle, house, small_disk / "root")
    assert done.returncode == 5
    assert "MB needed" in done.stderr
    assert not (small_disk / "root").exists()


def test_a_host_key_that_is_not_known_is_never_accepted(tmp_path: Path, server: sshd.Sshd) -> None:
    config = tmp_path / "config"
    config.write_text(server.config.read_text().replace(str(server.folder / "known_hosts"), str(tmp_path / "none")))
    with (
        Remote("device", ssh_config=config) as to,
        pytest.raises(InputOutputError, match="host key is not known") as caught,
    ):
        to.run("true")
    assert "fingerprint" in (caught.value.next_step or "")
    assert not (tmp_path / "none").exists()


def test_a_key_that_is_refused_is_said_so(tmp_path: Path, server: sshd.Sshd) -> None:
    config = tmp_path / "config"
    config.write_text(server.config.read_text().replace("user_key", "other_key"))
    with Remote("device", ssh_config=config) as to, pytest.raises(InputOutputError, match="refuses every key"):
        to.run("true")
    with Remote("device", ssh_config=config, identity=server.folder / "user_key") as to:
        assert to.run("echo", "in").stdout == "in\n"


def test_a_host_that_does_not_answer_is_said_so(server: sshd.Sshd) -> None:
    with (
        Remote("device", ssh_config=server.config, port=1) as to,
        pytest.raises(InputOutputError, match="no connection"),
    ):
        to.run("true")


def test_a_run_without_a_bundle_is_refused_before_the_device_is_asked(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("")
    done = edgedx(tmp_path, "push", "run", "device")
    assert (
        done.returncode == 2 and "run holds no compressed model" in done.stderr and "edgedx compress run" in done.stderr
    )


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "a b", "", "user@-x", "a;b"])
def test_what_is_no_host_never_reaches_ssh(host: str) -> None:
    with pytest.raises(UsageError, match="not a host"):
        Remote(host)


def test_words_arrive_as_they_were_given(remote: Remote) -> None:
    words = ["a b", "it's", '"$HOME"', "`id`", "*", "\\", "ä", "", "--"]
    done = remote.shell('for word in "$@"; do printf "%s|" "$word"; done', *words)
    assert done.stdout == "".join(f"{word}|" for word in words)


def test_a_python_that_is_not_there_is_named(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=rf"no Python 3\.99 .*found: {sshd.PYTHON}"):
        probe(remote, str(tmp_path), "3.99")


@pytest.mark.parametrize("root", ["a'b", "$HOME", "-rf", "a;b", 'a"b', ""])
def test_a_root_that_no_program_could_start_from_is_refused(remote: Remote, root: str) -> None:
    with pytest.raises(UsageError, match="--folder"):
        probe(remote, root)


def test_the_device_says_what_it_is(remote: Remote, tmp_path: Path) -> None:
    facts = probe(remote, str(tmp_path / "to" / "be" / "made"))
    assert (facts.python, facts.arch, facts.bits) == (sshd.PYTHON, os.uname().machine, 64)
    assert facts.root == str(tmp_path / "to/be/made")
    assert facts.glibc is not None
    assert facts.writable
    assert not (tmp_path / "to").exists()


FACTS = DeviceFacts("/usr/bin/python3", "3.10", "aarch64", 64, (2, 35), "/srv/edgedx", 10**10, True, True, True)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"arch": "x86_64"}, ProfileError, "is x86_64 .* is for aarch64"),
        ({"bits": 32}, ProfileError, "32-bit Python"),
        ({"python": "3.12"}, ProfileError, r"has Python 3\.12; .* is for 3\.10"),
        ({"glibc": (2, 31)}, ProfileError, r"has glibc 2\.31; .* needs 2\.35"),
        ({"glibc": None}, ProfileError, "another C library"),
        ({"has_venv": False}, MissingError, "venv module"),
        ({"writable": False}, StorageError, "cannot be written"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    house: Wheelhouse, change: dict[str, Any], kind: type[Exception], words: str
) -> None:
    orin = replace(house, target=wheel_target(load_profile("orin-nano-8gb")), record={"needs_glibc": "2.35"})
    check_fits(FACTS, orin, "device")
    with pytest.raises(kind, match=words) as caught:
        check_fits(replace(FACTS, **change), orin, "device")
    assert getattr(caught.value, "next_step", "")
