"""Calls as they were spelled before: each exits with 2 and one sentence that names the new call."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from inprocess import edgedx

from edgedx.cli import moved
from edgedx.cli.app import COMMANDS, app

SCAN = "scan in --bundle b --out o"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("audit verify results --head 4b1f", "scan audit results --head 4b1f"),
        ("audit", "scan audit"),
        ("export out --deid --to x --key=4f1c", "scan export out --deid --to x --result=4f1c"),
        ("baselines runs/x --json", "compare --baselines runs/x --json"),
        ("deploy b.edgedx --to a@b --root /srv --samples s.csv", "push b.edgedx a@b --folder /srv --data s.csv"),
        ("deploy runs/x --sign k --to=a@b --allow-unsigned", "push runs/x a@b --allow-unsigned"),
        ("deploy runs/x --pin k.pub", "push runs/x USER@HOST --pin k.pub"),
        (f"{SCAN} --print-systemd --threads 1", "scan unit in --bundle b --out o --threads 1"),
        (f"{SCAN} --scp E@1 --calling-ae CT1 --print-systemd", "scan unit in --bundle b --out o --pacs pacs.yaml"),
        (f"{SCAN} --sr --push A@h:1 --push-ca=c.pem", f"{SCAN} --sr --pacs pacs.yaml"),
        (f"{SCAN} --operating-point youden", f"{SCAN} --point youden"),
        ("evaluate m --device cuda", "evaluate m --on cuda"),
        ("compare a b --baseline a --device=cpu", "compare a b --against a --on=cpu"),
        ("explain m --device cpu", "explain m --on cpu"),
        ("robustness m --device cpu", "robustness m --on cpu"),
        ("gate b --teacher t.csv --data d", "gate b --reference t.csv --data d"),
        ("report r --images", "report r --patient-images"),
        ("engine build b --seconds 9", "engine build b --timeout 9"),
        ("devices match --root /mnt", "devices match --file-system /mnt"),
    ],
)
def test_an_old_spelling_is_2_and_names_the_new_call(tmp_path: Path, old: str, new: str) -> None:
    done = edgedx(tmp_path, *shlex.split(old))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and f"`edgedx {new}`" in done.stderr, done.stderr


def test_a_run_is_deployed_before_it_is_pushed(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "deploy", "runs/x", "--target", "cpu", "--to", "a@b")
    assert "`edgedx deploy runs/x --target cpu`, then `edgedx push runs/x a@b`" in done.stderr
    done = edgedx(tmp_path, *SCAN.split(), "--scp", "E@1")
    assert "`edgedx scan pacs > pacs.yaml`" in done.stderr


def _options(*words: str) -> set[str]:
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        command = command.commands["run"]
    return {option for one in command.params for option in getattr(one, "opts", [])}


def test_no_new_spelling_is_taken_for_an_old_one_and_every_new_one_exists() -> None:
    assert not {old[0] for old in moved.COMMANDS} & set(COMMANDS)
    for words, names in moved.OPTIONS.items():
        assert not set(names) & _options(*words), words
        assert set(names.values()) <= _options(*words), words
    assert set(moved.PUSH.values()) | set(moved.PUSH_FLAGS) <= _options("push")
    assert not {"--to", *moved.PUSH, *moved.PUSH_FLAGS} & _options("deploy")
    assert not {"--print-systemd", *moved.PACS} & _options("scan")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("finetun", "x"), "finetune"),
        (("scan", "statsu", "out"), "scan status"),
        (("keys", "lst"), "list"),
        (("compress", "x", "--overwrit"), "--overwrite"),
        (("finetune", "pnuemonia-mnist"), "did you mean 'pneumonia-mnist'"),
        (("recipes", "show", "phantm"), "did you mean 'phantom'"),
        (("evaluate", "x", "--split", "tset"), "did you mean test"),
    ],
)
def test_a_typing_error_is_answered_with_the_nearest_word(tmp_path: Path, words: tuple[str, ...], hint: str) -> None:
    done = edgedx(tmp_path, *words)
    assert done.returncode == 2 and re.search(hint, done.stderr), done.stderr


def test_a_folder_that_is_nearly_a_command_is_scanned(tmp_path: Path) -> None:
    (tmp_path / "statu").mkdir()
    done = edgedx(tmp_path, "scan", "statu", "--bundle", "none.edgedx", "--out", "out")
    assert done.returncode == 5 and "none.edgedx" in done.stderr
