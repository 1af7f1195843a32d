"""An update as a whole: signed answers in, a judged run out, and a bundle that says what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clinics import PROFILE, make_export
from inprocess import edgedx

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.errors import AlreadyExists, DataError, GateRefused, UsageError
from edgedx.core.files import sha256_file
from edgedx.core.settings.profile import load_profile
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.evidence.report.collect import collect
from edgedx.lab.evidence.report.files import write_report
from edgedx.lab.evidence.report.sections import find_evidence
from edgedx.lab.run.run import Run
from edgedx.lab.run.updated import VERDICT, bundles_of, read_update
from edgedx.lab.ship.deploy import deploy
from edgedx.lab.update import update as flow
from edgedx.lab.update.update import next_version, plan_update, update

Deployed = tuple[Recipe, Run]


class Updated(NamedTuple):
    """A run after an update by two clinics.

    Attributes
    ----------
    before : dict of str to str
        Hashes of the old run's files, from before.
    files, keys : list of Path
        What the clinics sent.
    """

    run: Run
    report: dict[str, Any]
    before: dict[str, str]
    files: list[Path]
    keys: list[Path]


@pytest.fixture(scope="module")
def updated(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    folder = tmp_path_factory.mktemp("exports")
    run = deployed[1]
    before = {str(path): sha256_file(path) for path in run.path.rglob("*") if path.is_file()}
    north, north_key = make_export(folder, run, "north", second_opinion=[3], unsure=[4, 6])
    south, south_key = make_export(folder, run, "south", first=3000, level=60, wrong=[8])
    files, keys = [north, south], [north_key, south_key]
    plan = plan_update(run.path, files, trust=keys)
    return Updated(plan.after, update(plan), before, files, keys)


def test_what_became_of_the_answers_is_told(updated: Updated) -> None:
    run, report = updated.run, updated.report
    data = report["data"]
    assert [(one["site"], one["signed_by"].split()[0]) for one in data["files"]] == [("north", "north"), ("south",) * 2]
    assert data["answers"]["used"] == 77
    assert data["answers"]["excluded"] == {"no label: nobody could tell": 2, "people disagree on its label": 1}
    assert sum(data["new"].values()) == 77
    assert data["likely_wrong"] >= 1
    listed = (run.data / "likely-wrong.csv").read_text().splitlines()
    assert listed[1].split(",")[3:6] == ["south", "bright", "dark"]  # the planted one
    assert (run.data / "likely-wrong.png").stat().st_size > 1000
    assert (run.data / "contradictions.csv").read_text().count("people disagree on its label") == 1


def test_the_old_run_is_untouched_and_the_new_one_stands_beside_it(deployed: Deployed, updated: Updated) -> None:
    run, report = updated.run, updated.report
    assert {str(path): sha256_file(path) for path in deployed[1].path.rglob("*") if path.is_file()} == updated.before
    assert run.path == deployed[1].path.with_name("tiny-update-1")
    assert (report["version"], run.recipe().version) == ("2", "2")
    assert report["verdict"]["passed"], report["verdict"]["sentence"]
    assert report["verdict"]["gain"]["value"] is not None


def test_the_same_call_repeats_nothing(deployed: Deployed, updated: Updated) -> None:
    run = updated.run
    times = {path: path.stat().st_mtime_ns for path in (run.teacher.path / "stage.json", run.data / "stage.json")}
    plan = plan_update(deployed[1].path, updated.files, trust=updated.keys)
    assert plan.after.path == run.path
    update(plan)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_deploy_bundles_the_update_with_its_changes(deployed: Deployed, updated: Updated) -> None:
    run = updated.run
    record = deploy(run.recipe(), run, load_profile(PROFILE), force=True)
    bundle = open_bundle(record["metrics"]["bundle"])
    assert bundle.manifest.version == "2"
    assert bundle.manifest.gate["update_of"] == "1"
    assert bundle.manifest.gate["update_passed"] is True
    assert "update_forced" not in bundle.manifest.gate
    assert b"## Version 2" in bundle.read("changes.md") and b"## Version 1" in bundle.read("changes.md")
    old = open_bundle(deployed[1].bundle(PROFILE)).digest
    assert bundles_of(run) == [bundle.digest, old]  # answers to either version count from now on


def test_the_report_has_a_page_for_change_control(updated: Updated, tmp_path: Path) -> None:
    run = updated.run
    facts = collect(run.recipe(), run, resamples=100)
    written = write_report(facts, tmp_path / "report.html", evidence=find_evidence(run.path))
    text = written[1].read_text()
    assert "## Update of version 1 to 2" in text
    for part in ("description of the modification", "modification protocol", "impact assessment"):
        assert f"### Change control: {part}" in text
    assert "the new images" in text and "It is no such plan" in text
    assert json.loads(written[2].read_text())["update"]["verdicts"][PROFILE]["passed"] is True
    assert "Change control" in written[0].read_text()


def _copy(run: Run, folder: Path) -> Run:
    """A copy whose verdict can be changed."""
    shutil.copytree(run.path, folder / run.name)
    return Run(folder / run.name)


def test_an_update_that_was_refused_is_not_deployed(updated: Updated, tmp_path: Path) -> None:
    run = _copy(updated.run, tmp_path)
    path = run.build(PROFILE).update_folder / VERDICT
    verdict = json.loads(path.read_text())
    path.write_text(json.dumps({**verdict, "passed": False, "sentence": "it forgets", "forced": None}))
    with pytest.raises(GateRefused, match="may not replace version 1: it forgets") as caught:
        deploy(run.recipe(), run, load_profile(PROFILE), force=False)
    assert "--anyway REASON" in str(caught.value.next_step)
    path.write_text(json.dumps({**verdict, "passed": False, "sentence": "it forgets", "forced": "the old site closed"}))
    record = deploy(run.recipe(), run, load_profile(PROFILE), force=True, overwrite=True)
    gate = open_bundle(record["metrics"]["bundle"]).manifest.gate
    assert gate["update_passed"] is False
    assert gate["update_forced"] == "the old site closed"
    assert gate["update_refused"] == "it forgets"


def test_an_update_that_was_not_judged_is_not_deployed(updated: Updated, tmp_path: Path) -> None:
    run = _copy(updated.run, tmp_path)
    (run.build(PROFILE).update_folder / VERDICT).unlink()
    with pytest.raises(GateRefused, match="was not judged against it"):
        deploy(run.recipe(), run, load_profile(PROFILE), force=False)


def test_answers_nobody_vouches_for_are_refused(deployed: Deployed, tmp_path: Path) -> None:
    run = deployed[1]
    north, _ = make_export(tmp_path, run, "north", count=4)
    _, other = make_export(tmp_path, run, "other", count=4)
    for trust in ([], [other]):
        with pytest.raises(GateRefused, match="is signed by"):
            update(plan_update(run.path, [north], trust=trust, out=tmp_path / "out"), check_only=True)
    changed = bytearray(north.read_bytes())
    changed[len(changed) // 2] ^= 1
    north.write_bytes(changed)
    with pytest.raises(DataError, match="damaged"):
        update(plan_update(run.path, [north], trust=[tmp_path / "north.pub"], out=tmp_path / "2"), check_only=True)


def test_answers_to_another_model_are_refused(deployed: Deployed, tmp_path: Path) -> None:
    run = deployed[1]
    north, key = make_export(tmp_path, run, "north", count=4, bundle="ab" * 32)
    with pytest.raises(GateRefused, match="holds answers to tiny 1, bundle abababababab") as caught:
        update(plan_update(run.path, [north], trust=[key], out=tmp_path / "out"), check_only=True)
    assert open_bundle(run.bundle(PROFILE)).digest[:12] in caught.value.message


def test_too_few_answers_name_how_many_more_and_write_no_data_set(deployed: Deployed, tmp_path: Path) -> None:
    run = deployed[1]
    north, key = make_export(tmp_path, run, "north", count=10)
    plan = plan_update(run.path, [north], trust=[key], out=tmp_path / "out")
    with pytest.raises(DataError, match="too few new images"):
        update(plan)
    assert not (tmp_path / "out" / "data" / "stage.json").exists()


def test_a_stopped_update_goes_on_where_it_was(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = deployed[1]
    north, key = make_export(tmp_path, run, "north")
    plan = plan_update(run.path, [north], trust=[key], out=tmp_path / "out", overrides=["update.method=distil"])

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow, "compress", stop)
        with pytest.raises(KeyboardInterrupt):
            update(plan)
    weights = sha256_file(plan.after.teacher.path / "model.safetensors")
    again = plan_update(run.path, [north], trust=[key], out=tmp_path / "out", overrides=["update.method=distil"])
    report = update(again, force="a test")
    assert sha256_file(plan.after.teacher.path / "model.safetensors") == weights
    assert report["data"]["old"]["train"] == 0
    assert report["verdict"]["forced"] == (None if report["verdict"]["passed"] else "a test")
    with pytest.raises(AlreadyExists, match="holds something else"):
        plan_update(run.path, [north], trust=[key], out=tmp_path / "out")
    facts = read_update(again.after)
    assert facts is not None and facts["method"] == "distil"


def test_an_update_cannot_become_another_model_or_go_back(deployed: Deployed, tmp_path: Path) -> None:
    run = deployed[1]
    north, _ = make_export(tmp_path, run, "north", count=4)
    with pytest.raises(UsageError, match="an update keeps this section"):
        plan_update(run.path, [north], overrides=["model.dropout=0.5"])
    with pytest.raises(UsageError, match="version 0.9 is not higher than 1"):
        plan_update(run.path, [north], version="0.9")


def test_versions_grow_by_their_last_number() -> None:
    assert [next_version(one) for one in ("1", "1.9", "2026.11.3")] == ["2", "1.10", "2026.11.4"]


def test_the_command_tells_what_is_decided_and_what_comes_next(deployed: Deployed, updated: Updated) -> None:
    words = [word for path in updated.files for word in ("--feedback", str(path))]
    words += [word for path in updated.keys for word in ("--trust", str(path))]
    done = edgedx(deployed[1].path.parent, "update", "tiny", *words)
    assert done.returncode == 0, done.stderr
    wanted = [
        "77 of 80 images of north, south can be used",
        "1: people disagree on its label",
        "likely wrong labels",
        "largest gap in",
        "passed: against",
        "deploy tiny-update-1 --device x86-avx2",
    ]
    for part in wanted:
        assert part in done.stdout
    as_json = json.loads(edgedx(deployed[1].path.parent, "update", "tiny", *words, "--json").stdout)
    assert as_json["verdict"]["passed"] is True
    checked = edgedx(deployed[1].path.parent, "update", "tiny", *words, "--check")
    assert "without --check" in checked.stdout


def test_a_refused_update_ends_with_exit_code_1_and_names_the_way_out(deployed: Deployed, updated: Updated) -> None:
    words = [word for path in updated.files for word in ("--feedback", str(path))]
    words += [word for path in updated.keys for word in ("--trust", str(path))]
    strict = ["--set", "gate.least_auc=1.0", "--set", "gate.max_auc_drop=0"]  # no finite set of images proves that
    done = edgedx(deployed[1].path.parent, "update", "tiny", *words, *strict)
    assert done.returncode == 1, done.stderr
    assert "may not replace version 1" in done.stderr
    assert "--anyway REASON" in done.stderr
    assert "NO: " in done.stdout


def test_a_folder_that_was_only_looked_at_is_used_again(deployed: Deployed, tmp_path: Path) -> None:
    run = deployed[1]
    north, key = make_export(tmp_path, run, "north", first=7000)
    first = plan_update(run.path, [north], trust=[key])
    assert update(first, check_only=True)["data"]["answers"]["used"] == 40
    again = plan_update(run.path, [north], trust=[key], overrides=["update.suspects=leave-out"])
    assert again.after.path == first.after.path
    assert again.fingerprint != first.fingerprint
    update(again, check_only=True)
    facts = read_update(again.after)
    assert facts is not None and facts["settings"]["suspects"] == "leave-out"
    shutil.rmtree(again.after.path)
