"""Wheelhouses: the tags that a device takes, and pip's choice among wheels made here. No index is asked."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

import edgedx
from edgedx.core.errors import AlreadyExists, EdgedxError, InputOutputError, MissingError, ProfileError, UsageError
from edgedx.core.settings.profile import load_profile
from edgedx.lab.remote.own_wheel import own_wheel, repack
from edgedx.lab.remote.resolve_wheels import complete, download, metadata, missing_requirements, needed_glibc
from edgedx.lab.remote.wheel_target import WheelTarget, wheel_target
from edgedx.lab.remote.wheelhouse import licence_of, make_wheelhouse, read_wheelhouse

ORIN = wheel_target(load_profile("orin-nano-8gb"))


@pytest.mark.parametrize(
    ("device", "python", "expected"),
    [
        ("orin-nano-8gb", None, ("3.10", "aarch64", (2, 35))),
        ("orin-nano-8gb", "3.12", ("3.12", "aarch64", (2, 39))),
        ("orin-nano-8gb", "3.11", ("3.11", "aarch64", (2, 35))),
        ("thor-t5000", None, ("3.12", "aarch64", (2, 39))),
        ("xavier-nx", None, ("3.10", "aarch64", (2, 31))),
        ("raspberry-pi-5", None, ("3.11", "aarch64", (2, 36))),
        ("raspberry-pi-5", "3.13", ("3.13", "aarch64", (2, 41))),
        ("x86-avx2", None, ("3.11", "x86_64", (2, 36))),
        ("intel-n97", "3.10", ("3.10", "x86_64", (2, 35))),
    ],
)
def test_a_device_takes_the_wheels_of_its_system(
    device: str, python: str | None, expected: tuple[str, str, tuple[int, int]]
) -> None:
    target = wheel_target(load_profile(device), python)
    assert (target.python, target.arch, target.glibc) == expected


def test_platform_tags_go_from_the_devices_libc_down_under_both_names() -> None:
    assert ORIN.platforms[0] == "manylinux_2_35_aarch64"
    assert ORIN.platforms[-3:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]
    assert {f"manylinux_2_{minor}_aarch64" for minor in range(17, 36)} <= set(ORIN.platforms)
    assert not [tag for tag in ORIN.platforms if "x86" in tag or "2_36" in tag]
    old = wheel_target(load_profile("x86-avx2")).platforms
    assert {"manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64"} <= set(old)


def test_another_libc_is_taken_as_given() -> None:
    assert wheel_target(load_profile("x86-avx2"), "3.12", "2.28").glibc == (2, 28)


@pytest.mark.parametrize(
    ("device", "python", "glibc", "kind", "words"),
    [
        ("jetson-nano", None, None, ProfileError, "not supported"),
        ("x86-avx2", "3.9", None, UsageError, "--python 3.9"),
        ("x86-avx2", None, "musl", UsageError, "--glibc musl"),
        ("orin-nano-8gb", None, "2.12", UsageError, "--glibc 2.12"),
    ],
)
def test_what_no_device_takes_is_refused(
    device: str, python: str | None, glibc: str | None, kind: type[EdgedxError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        wheel_target(load_profile(device), python, glibc)
    assert caught.value.next_step


def wheel(
    folder: Path, name: str, version: str = "1.0", tag: str = "py3-none-any", *needs: str, extra: str = ""
) -> Path:
    """A wheel of one empty module."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "License-Expression: MIT", extra]
    lines += [f"Requires-Dist: {need}" for need in needs]
    path = folder / f"{module}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}.py", "")
        archive.writestr(f"{info}/METADATA", "\n".join(line for line in lines if line) + "\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    for key in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in folder.glob("*.whl"))


def test_the_best_wheel_for_the_device_is_chosen_not_that_for_this_machine(index: Path, tmp_path: Path) -> None:
    for tag in ("cp310-cp310-manylinux_2_28_aarch64", "cp310-cp310-manylinux_2_38_aarch64",
                "cp311-cp311-manylinux_2_28_aarch64", "cp310-cp310-manylinux_2_28_x86_64"):  # fmt: skip
        wheel(index, "fast", "1.0", tag)
    download(ORIN, ["fast"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fast-1.0-cp310-cp310-manylinux_2_28_aarch64.whl"]


def test_a_package_without_a_wheel_for_the_device_is_named(index: Path, tmp_path: Path) -> None:
    wheel(index, "app", "1.0", "py3-none-any", "native>=2")
    wheel(index, "native", "2.0", "cp310-cp310-manylinux_2_28_x86_64")
    with pytest.raises(
        MissingError, match=r"no wheel of native>=2 .*Python 3\.10 on aarch64 with glibc 2\.35"
    ) as caught:
        download(ORIN, ["app"], tmp_path / "out")
    assert caught.value.exit_code == 3


def test_versions_that_contradict_one_another_are_told_so(index: Path, tmp_path: Path) -> None:
    wheel(index, "one", "1.0", "py3-none-any", "shared<2")
    wheel(index, "two", "1.0", "py3-none-any", "shared>=2")
    wheel(index, "shared", "1.0")
    wheel(index, "shared", "2.0")
    with pytest.raises(MissingError, match="contradict one another"):
        download(ORIN, ["one", "two"], tmp_path / "out")


def test_an_index_that_cannot_be_reached_is_no_missing_package(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(InputOutputError, match="cannot be reached") as caught:
        download(ORIN, ["absent"], tmp_path / "out")
    assert "internet" in (caught.value.next_step or "")


def test_markers_are_asked_of_the_device_and_not_of_this_machine(index: Path, tmp_path: Path) -> None:
    """pip asks them of the Python that it runs on, so that a requirement of the device alone is left out."""
    own = wheel(
        tmp_path / "house", "app", "1.0", "py3-none-any",
        'old-only; python_version < "3.11"', 'arm-only>=1; platform_machine == "aarch64"',
        'windows; sys_platform == "win32"', 'optional; extra == "net"',
    )  # fmt: skip
    for name in ("old-only", "arm-only", "optional"):
        wheel(index, name)
    assert missing_requirements(ORIN, tmp_path / "house", own, set()) == ["arm-only>=1", "old-only"]
    complete(ORIN, tmp_path / "house", own, set(), None)
    assert names(tmp_path / "house") == ["app", "arm_only", "old_only"]
    assert missing_requirements(ORIN, tmp_path / "house", own, {"net"}) == ["optional"]


def test_a_wheel_that_does_not_fit_is_found(tmp_path: Path) -> None:
    own = wheel(tmp_path, "app")
    wheel(tmp_path, "fast", "1.0", "cp311-cp311-manylinux_2_28_aarch64")
    with pytest.raises(MissingError, match="fast-1.0-cp311"):
        missing_requirements(ORIN, tmp_path, own, set())


@pytest.mark.parametrize(
    ("tags", "needed"),
    [
        (["py3-none-any"], (2, 0)),
        (["cp310-abi3-manylinux2014_aarch64"], (2, 17)),
        (["cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64"], (2, 27)),
        (["py3-none-any", "cp310-cp310-manylinux_2_34_x86_64", "cp310-cp310-manylinux_2_9_x86_64"], (2, 34)),
    ],
)
def test_the_libc_that_is_needed_is_that_of_the_wheels(tags: list[str], needed: tuple[int, int]) -> None:
    assert needed_glibc([f"one-1.0-{tag}.whl" for tag in tags]) == needed


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """edgedx as a wheel, built once."""
    return own_wheel(tmp_path_factory.mktemp("own"))


def test_the_wheel_holds_the_templates_of_the_report(own: Path) -> None:
    with zipfile.ZipFile(own) as archive:
        inside = set(archive.namelist())
    templates = Path(edgedx.__file__).parent / "lab" / "evidence" / "report" / "templates"
    names = [f"edgedx/lab/evidence/report/templates/{path.name}" for path in templates.iterdir()]
    assert len(names) >= 3 and inside.issuperset(names)


@pytest.fixture
def stocked(index: Path, own: Path) -> Path:
    """An index with a wheel for each requirement of the base install, and pip's own."""
    for text in metadata(own).get_all("Requires-Dist") or []:
        if "extra ==" not in text:
            name = re.match(r"[A-Za-z0-9_.-]+", text)
            least = re.search(r">=([0-9.]+)", text)
            assert name is not None
            tag = "cp310-cp310-manylinux_2_28_aarch64" if name[0] == "numpy" else "py3-none-any"
            wheel(index, name[0], least[1] if least else "1.0", tag)
    wheel(index, "pip", "26.0")
    return index


def test_edgedx_as_a_wheel_carries_recipes_and_profiles(own: Path) -> None:
    with zipfile.ZipFile(own) as archive:
        inside = set(archive.namelist())
    assert {
        "edgedx/cli/app.py",
        "edgedx/_data/devices/orin-nano-8gb.yaml",
        "edgedx/_data/recipes/phantom.yaml",
    } <= inside
    assert not [name for name in inside if name.startswith("tests")]


def test_a_wheelhouse_is_whole_pinned_and_says_what_it_is_for(stocked: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "house"
    house = make_wheelhouse(load_profile("orin-nano-8gb"), out)
    record = json.loads((out / "wheelhouse.json").read_text())
    assert (record["device"], record["python"], record["arch"], record["glibc"]) == (
        "orin-nano-8gb", "3.10", "aarch64", "2.35"
    )  # fmt: skip
    assert record["pip"] == "pip-26.0-py3-none-any.whl"
    lines = (out / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert len(lines) == len(list(out.glob("*.whl"))) - 1, "pip installs the others, and is not installed"
    assert {file.licence for file in house.files if file.name == "numpy"} == {"MIT"}
    assert read_wheelhouse(out).requirements_sha256 == house.requirements_sha256
    assert [path.name for path in out.parent.iterdir()] == ["house"]


def test_the_same_wheels_give_the_same_identity(stocked: Path, tmp_path: Path) -> None:
    first = make_wheelhouse(load_profile("orin-nano-8gb"), tmp_path / "one")
    again = make_wheelhouse(load_profile("orin-nano-8gb"), tmp_path / "two")
    assert first.requirements_sha256 == again.requirements_sha256


def test_a_wheelhouse_that_cannot_be_made_leaves_nothing_and_harms_nothing(stocked: Path, tmp_path: Path) -> None:
    profile, out = load_profile("orin-nano-8gb"), tmp_path / "houses" / "house"
    make_wheelhouse(profile, out)
    before = read_wheelhouse(out).record
    for path in stocked.glob("numpy-*.whl"):
        path.unlink()
    with pytest.raises(AlreadyExists):
        make_wheelhouse(profile, out)
    with pytest.raises(MissingError, match="no wheel of numpy"):
        make_wheelhouse(profile, out, overwrite=True)
    assert read_wheelhouse(out).record == before
    assert [path.name for path in out.parent.iterdir()] == ["house"]


def test_a_folder_that_is_no_wheelhouse_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "thesis.txt").write_text("years of work")
    with pytest.raises(AlreadyExists, match="is no wheelhouse"):
        make_wheelhouse(load_profile("orin-nano-8gb"), tmp_path / "house", overwrite=True)
    with pytest.raises(InputOutputError, match=r"no wheelhouse\.json"):
        read_wheelhouse(tmp_path / "house")


def _flip(house: Path) -> None:
    (numpy,) = house.glob("numpy-*.whl")
    data = bytearray(numpy.read_bytes())
    data[len(data) // 2] ^= 1
    numpy.write_bytes(data)


def _remove(house: Path) -> None:
    next(house.glob("numpy-*.whl")).unlink()


def _require(house: Path) -> None:
    (house / "requirements.txt").write_text("evil==1.0\n")


def _point_elsewhere(house: Path) -> None:
    record = json.loads((house / "wheelhouse.json").read_text())
    record["files"][0]["file"] = "../../etc/passwd"
    (house / "wheelhouse.json").write_text(json.dumps(record))


def test_a_change_after_it_was_made_is_found(stocked: Path, tmp_path: Path) -> None:
    make_wheelhouse(load_profile("orin-nano-8gb"), tmp_path / "house")
    for number, change in enumerate((_flip, _remove, _require, _point_elsewhere)):
        copy = Path(shutil.copytree(tmp_path / "house", tmp_path / str(number)))
        read_wheelhouse(copy)
        change(copy)
        with pytest.raises(InputOutputError):
            read_wheelhouse(copy)


def test_an_installed_wheel_can_be_put_together_again(tmp_path: Path) -> None:
    path = repack("pip", tmp_path)
    with zipfile.ZipFile(path) as archive:
        inside = archive.namelist()
        assert archive.testzip() is None
    assert {"pip/__init__.py", "pip/__main__.py"} <= set(inside)
    assert not [name for name in inside if name.endswith(".pyc") or name.startswith("..")]
    assert metadata(path)["Name"] == "pip"


@pytest.mark.parametrize("name", ["numpy", "no-such-package"])
def test_what_cannot_be_put_together_again_is_said_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputOutputError, match=name) as caught:
        repack(name, tmp_path)
    assert caught.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_a_licence_is_taken_from_where_it_is_said(tmp_path: Path) -> None:
    plain = metadata(wheel(tmp_path, "plain"))
    assert licence_of(plain) == "MIT"
    del plain["License-Expression"]
    assert licence_of(plain) == "not stated"
    plain["License"] = "BSD, see the file\nand so on"
    assert licence_of(plain) == "BSD, see the file"
    plain["Classifier"] = "License :: OSI Approved :: Apache Software License"
    assert licence_of(plain) == "Apache Software License"


def test_the_target_says_what_it_is() -> None:
    assert str(WheelTarget("3.10", "aarch64", (2, 35), "JetPack 6")) == (
        "Python 3.10 on aarch64 with glibc 2.35 (JetPack 6)"
    )
