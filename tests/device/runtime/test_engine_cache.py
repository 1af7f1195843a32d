"""The cache of engines: what is used, what is built again, and that no damage of it costs more than a build."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from bundles import model
from networks import KEY, PLAN, REPORT, tensorrt_bundle

from edgedx.core.bundle.engine_part import pack_engine, unpack_engine
from edgedx.core.bundle.manifest import Bundle, Engine
from edgedx.core.errors import BundleError, UsageError
from edgedx.core.files import sha256_bytes
from edgedx.device.runtime.engine_cache import (
    Choice,
    EngineCache,
    EngineKey,
    explain_absence,
    is_superseded,
    judge_file,
)
from edgedx.device.runtime.engine_settings import BuildReport
from edgedx.device.runtime.prepare_engine import choose_shipped, engines_folder, obtain, tensorrt_variant

CHANGES: list[dict[str, Any]] = [
    {"model_sha256": "b" * 64},
    {"precision": "fp16"},
    {"runtime": "tensorrt_rtx"},
    {"runtime_version": "10.13.0"},
    {"gpu": "Thor"},
    {"sm": "11.0"},
    {"max_batch": 1},
    {"dla": 0},
    {"level": 1},
]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_what_was_stored_is_found_byte_for_byte(cache: EngineCache) -> None:
    assert cache.load(KEY).why == "no engine was built yet"
    cache.store(KEY, PLAN, REPORT)
    assert cache.load(KEY).plan == PLAN
    assert [key for _, key in cache.entries()] == [KEY]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_an_engine_depends_on_makes_it_another_one(cache: EngineCache, change: dict[str, Any]) -> None:
    cache.store(KEY, PLAN, REPORT)
    other = replace(KEY, **change)
    assert cache.path(other) != cache.path(KEY)
    assert cache.load(other).plan is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runtime_version": "10.13.0"}, "another TensorRT"),
        ({"gpu": "Thor", "sm": "11.0"}, "another GPU"),
        ({"dla": 0}, "another accelerator"),
    ],
)
def test_a_rebuild_is_explained_by_what_differs(change: dict[str, Any], words: str) -> None:
    assert explain_absence(KEY, [replace(KEY, **change)]).endswith(f"was built for {words}")


def test_every_flipped_byte_and_every_cut_is_noticed_before_tensorrt_sees_it(cache: EngineCache) -> None:
    cache.store(KEY, PLAN, REPORT)
    path = cache.path(KEY)
    whole = path.read_bytes()
    for index in range(len(whole) - len(PLAN), len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert cache.load(KEY).why == "the cached engine was changed on disk"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.load(KEY).plan is None
    path.write_bytes(whole)
    assert cache.load(KEY).plan == PLAN


def test_an_engine_under_anothers_name_is_not_used(cache: EngineCache) -> None:
    cache.store(KEY, PLAN, REPORT)
    other = replace(KEY, gpu="Thor")
    cache.path(KEY).rename(cache.path(other))
    assert cache.load(other).why == "the cached engine is another one's"


def test_a_file_of_another_format_is_not_used() -> None:
    header = {"format": 0, "key": asdict(KEY), "sha256": sha256_bytes(PLAN)}
    assert "of another edgedx" in judge_file(header, PLAN, KEY)
    assert judge_file({**header, "format": 1}, PLAN, KEY) == ""
    assert judge_file(None, b"", KEY)


def test_storing_removes_what_an_update_of_tensorrt_left_behind_and_nothing_else(cache: EngineCache) -> None:
    old, fp16, dla, other_model = (
        replace(KEY, runtime_version="8.6.1"),
        replace(KEY, precision="fp16"),
        replace(KEY, dla=0, max_batch=1),
        replace(KEY, model_sha256="b" * 64),
    )
    for key in (old, fp16, dla, other_model):
        cache.store(key, PLAN, REPORT)
    (cache.folder / "junk.engine").write_bytes(b"junk")
    cache.store(KEY, PLAN, REPORT)
    assert {key for _, key in cache.entries()} == {fp16, dla, other_model, KEY}
    assert is_superseded(old, KEY) and not is_superseded(KEY, KEY)


def test_choices_are_remembered_by_model(cache: EngineCache) -> None:
    assert cache.choice("m") == Choice()
    cache.choose("m", Choice(dla=1))
    cache.choose("n", Choice(level=1))
    assert (cache.choice("m"), cache.choice("n")) == (Choice(dla=1), Choice(level=1))
    (cache.folder / "choices.json").write_text('{"m": {"unknown": 1}}')
    assert cache.choice("m") == Choice()


class Builder:
    """Stands for the builder; counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds

    def __call__(self, folder: Path) -> tuple[bytes, BuildReport]:
        self.calls += 1
        time.sleep(self.seconds)
        return PLAN, REPORT


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tensorrt_bundle(tmp_path / "t.edgedx")


def test_built_once_then_cached_then_rebuilt_when_it_is_damaged_or_asked_for(
    cache: EngineCache, bundle: Bundle
) -> None:
    build = Builder()
    first = obtain(cache, KEY, bundle, build)
    assert (first.origin, first.why, first.report) == ("built", "no engine was built yet", REPORT)
    second = obtain(cache, KEY, bundle, build)
    assert (second.origin, second.plan, build.calls) == ("cache", PLAN, 1)
    cache.path(KEY).write_bytes(cache.path(KEY).read_bytes()[:-1])
    assert obtain(cache, KEY, bundle, build).why == "the cached engine was changed on disk"
    assert obtain(cache, KEY, bundle, build, rebuild=True).why == "it was asked for"
    cache.drop(KEY)
    assert obtain(cache, KEY, bundle, build).origin == "built"
    assert build.calls == 4


def test_two_at_once_build_one_engine(cache: EngineCache, bundle: Bundle) -> None:
    build, origins = Builder(seconds=0.3), []
    threads = [threading.Thread(target=lambda: origins.append(obtain(cache, KEY, bundle, build).origin)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(origins), build.calls) == (["built", "cache"], 1)


def test_what_a_killed_build_left_is_swept(cache: EngineCache, bundle: Bundle) -> None:
    left = cache.folder / ".building-x"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half")
    obtain(cache, KEY, bundle, Builder())
    assert not left.exists()


def test_a_full_disk_costs_the_cache_and_not_the_service(small_disk: Path, bundle: Bundle) -> None:
    cache = EngineCache(small_disk / "engines")
    large = b"x" * (2 << 20)
    found = obtain(cache, KEY, bundle, lambda folder: (large, REPORT))
    assert (found.origin, found.plan) == ("built", large)
    assert not list(cache.entries())


def engine(**changes: Any) -> Engine:
    """The manifest's entry for a shipped PLAN."""
    fields: dict[str, Any] = {
        "file": "engines/e.xz",
        "variant": "int8-trt",
        "runtime": "tensorrt_rtx",
        "runtime_version": "1.7.1.116",
        "model_sha256": sha256_bytes(model()),
        "sm": ["8.6", "8.9"],
        "bytes": len(PLAN),
        "sha256": sha256_bytes(PLAN),
    }
    return Engine(**{**fields, **changes})


RTX = EngineKey(sha256_bytes(model()), "int8", "tensorrt_rtx", "1.7.1.116", "RTX 4070", "8.9", 8)


@pytest.mark.parametrize(
    ("engines", "why"),
    [
        ([], "brings no engine"),
        ([engine(model_sha256="b" * 64)], "brings no engine"),
        ([engine(runtime_version="1.6.0")], "is of tensorrt_rtx 1.6.0, not 1.7.1.116"),
        ([engine(sm=["7.5"])], "are for SM 7.5"),
    ],
)
def test_a_shipped_engine_that_does_not_fit_is_not_used(engines: list[Engine], why: str) -> None:
    found, reason = choose_shipped(engines, RTX)
    assert found is None and why in reason


def test_a_shipped_engine_saves_the_build(cache: EngineCache, bundle: Bundle) -> None:
    shipped = bundle.manifest.model_copy(update={"engines": [engine(sm=["7.5"]), engine()]})
    assert choose_shipped(shipped.engines, RTX) == (engine(), "")
    bundle.manifest = shipped
    bundle._parts = {**bundle._parts, "engines/e.xz": pack_engine(PLAN)}
    build = Builder()
    found = obtain(cache, RTX, bundle, build)
    assert (found.origin, found.plan, build.calls) == ("bundle", PLAN, 0)
    assert obtain(cache, RTX, bundle, build, rebuild=True).origin == "built"  # TensorRT had refused the shipped one


@pytest.mark.parametrize(
    "part",
    [b"", b"junk", pack_engine(b"y" * (50 << 20)), pack_engine(PLAN[:-1] + b"!"), pack_engine(PLAN)[:40]],
    ids=["empty", "junk", "bomb", "another", "cut"],
)
def test_a_part_that_is_not_the_engine_of_the_manifest_is_refused(part: bytes) -> None:
    with pytest.raises(BundleError):
        unpack_engine(part, engine())


def test_engines_live_beside_the_slots_or_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert engines_folder(Path("/srv/edgedx/slots/a")) == Path("/srv/edgedx/engines")
    assert engines_folder(Path("/srv/edgedx/slots/.staging-x")) == Path("/srv/edgedx/engines")
    monkeypatch.setenv("EDGEDX_CACHE", str(tmp_path))
    assert engines_folder(Path("/home/x/chest.edgedx")) == tmp_path / "engines"


def test_a_cpu_variant_has_no_engine_to_build(bundle: Bundle) -> None:
    assert tensorrt_variant(bundle, None) == "int8-trt"
    with pytest.raises(UsageError, match="runs on the CPU") as caught:
        tensorrt_variant(bundle, "fp32")
    assert "--variant int8-trt" in str(caught.value.next_step)
    with pytest.raises(BundleError, match="no variant"):
        tensorrt_variant(bundle, "nope")
