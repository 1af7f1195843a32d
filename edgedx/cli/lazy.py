"""Commands that are imported when they are called, so that `edgedx --help` costs the same however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


class LazyCommands(dict[str, Any]):
    """Command objects by name; the module of a command is imported when it is looked up.

    A module ``NAME.py`` of this package has a function ``NAME``, or ``app`` where it has commands of its own.
    """

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if command is None:
            command = self[name] = _load(name)
        return command

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  # dict.get would not import

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


def _load(name: str) -> Any:
    module = import_module(f".{name}", __package__)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(getattr(module, name))
    command = typer.main.get_command(app)
    command.name = name
    return command


def lazy_group(summaries: Mapping[str, str]) -> type[TyperGroup]:
    """A group of the commands named in `summaries`, which gives each one's line of help."""

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = LazyCommands(dict.fromkeys(summaries))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(summaries)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl(list(summaries.items()))

    return LazyGroup


def group_with_default(default: str) -> type[TyperGroup]:
    """A group that takes what follows it for its command `default`, unless it is the name of another command."""

    class DefaultGroup(TyperGroup):
        default_command = default

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, args if args and args[0] in self.commands else [default, *args])

    return DefaultGroup
