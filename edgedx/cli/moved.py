"""Old spellings of commands and options: each stops with one sentence that names the new one."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

COMMANDS = {
    ("audit", "verify"): ("scan", "audit"),
    ("audit",): ("scan", "audit"),
    ("export",): ("scan", "export"),
    ("baselines",): ("compare", "--baselines"),
}
"""First words of a call to the words that stand for them now; the others stay."""

OPTIONS = {
    ("compare",): {"--device": "--on", "--baseline": "--against"},
    ("gate",): {"--teacher": "--reference"},
    ("report",): {"--images": "--patient-images"},
    ("scan", "export"): {"--key": "--result"},
    ("scan",): {"--operating-point": "--point"},
    ("engine", "build"): {"--seconds": "--timeout"},
    ("devices", "match"): {"--root": "--file-system"},
}
"""First words of a call to the options that have another name now."""

TORCH = {("evaluate",), ("explain",), ("robustness",)}
"""Commands whose ``--device cpu`` or ``cuda`` meant PyTorch's; it names a device profile now, ``--on`` is PyTorch's."""

PUSH = {
    "--samples": "--data",
    "--root": "--folder",
    **{name: name for name in ("--wheelhouse", "--port", "--pin", "--identity", "--ssh-config", "--python")},
}
"""Options of `edgedx deploy --to` with a value, and their names in `edgedx push`."""
PUSH_FLAGS = ("--allow-unsigned", "--allow-older")
PACS = ("--scp", "--calling-ae", "--tls-cert", "--tls-key", "--tls-ca", "--push", "--push-ca", "--push-cert",
        "--push-key", "--ae-title")  # fmt: skip
"""Options of `edgedx scan`, each with a value, that stand in the file of --pacs."""


def check(words: Sequence[str]) -> None:
    """Refuse a call in an old spelling.

    Raises
    ------
    UsageError
        Names the new call, with its arguments.
    """
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    for old, new in COMMANDS.items():
        if _begins(words, old):
            _refuse(f"edgedx {shlex.join(old)}", _renamed([*new, *words[len(old) :]]))
    if _begins(words, ("deploy",)) and given & {"--to", *PUSH, *PUSH_FLAGS}:
        _refuse_deploy(words[1:], sorted(given & {"--to", *PUSH, *PUSH_FLAGS})[0])
    if _begins(words, ("scan",)):
        if "--print-systemd" in given:
            rest = [word for word in words[1:] if word != "--print-systemd"]
            _refuse("edgedx scan --print-systemd", _renamed(["scan", "unit", *_with_file(rest)]))
        if old_options := given & set(PACS):
            before = "`edgedx scan pacs > pacs.yaml`, write into it what the options said, then "
            _refuse(f"edgedx scan {sorted(old_options)[0]}", ["scan", *_with_file(words[1:])], before)
    if (new_words := _renamed(words)) != list(words):
        changed = next(old for old, new in zip(words, new_words, strict=True) if old != new)
        renamed = {**OPTIONS, **dict.fromkeys(TORCH, {"--device": "--on"})}
        command = shlex.join(next(key for key, names in renamed.items() if _begins(words, key) and given & set(names)))
        _refuse(f"edgedx {command} {changed.partition('=')[0]}", new_words)


def _refuse(old: str, new: Sequence[str], before: str = "") -> None:
    from edgedx.core.errors import UsageError

    raise UsageError(f"`{old}` has a new spelling: {before}`{shlex.join(['edgedx', *new])}`")


def _refuse_deploy(words: Sequence[str], option: str) -> None:
    """What follows ``edgedx deploy``: the device and the way to it belong to `edgedx push`."""
    host, push, deploy, rest = "USER@HOST", [], [], list(words)
    while rest:
        word = rest.pop(0)
        name, sign, value = word.partition("=")
        if name == "--to" or name in PUSH:
            value = value if sign else rest.pop(0) if rest else "VALUE"
            host = value if name == "--to" else host
            push += [PUSH[name], value] if name in PUSH else []
        else:
            (push if name in PUSH_FLAGS else deploy).append(word)
    bundle = next((word for word in deploy if not word.startswith("-")), "BUNDLE")
    first = "" if bundle.endswith(".edgedx") else f"`{shlex.join(['edgedx', 'deploy', *deploy])}`, then "
    _refuse(f"edgedx deploy {option}", ["push", bundle, host, *push], first)


def _with_file(words: Sequence[str]) -> list[str]:
    """Words of a scan without the options of a PACS, and with the file that replaces them."""
    rest = _without(words, PACS)
    return [*rest, "--pacs", "pacs.yaml"] if len(rest) < len(words) else rest


def _without(words: Sequence[str], options: Collection[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        name, sign, _ = word.partition("=")
        if not skip and name not in options:
            kept.append(word)
        skip = name in options and not sign
    return kept


def _renamed(words: Sequence[str]) -> list[str]:
    """The words with the new names of options."""
    names = {old: new for key, options in OPTIONS.items() if _begins(words, key) for old, new in options.items()}
    parts = [word.partition("=") for word in words]
    if any(_begins(words, command) for command in TORCH):
        following = [*words[1:], ""]
        parts = [
            ("--on", sign, value) if name == "--device" and (value or after) in ("cpu", "cuda") else (name, sign, value)
            for (name, sign, value), after in zip(parts, following, strict=True)
        ]
    return [names.get(name, name) + sign + value for name, sign, value in parts]


def _begins(words: Sequence[str], start: Sequence[str]) -> bool:
    return tuple(words[: len(start)]) == tuple(start)
