"""Commands that are imported when they are called, so that `edgedx --help` costs the same however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class Entry(NamedTuple):
    """Where a command is, below this package, and its line in the group's help."""

    module: str
    summary: str


class LazyCommands(dict[str, Any]):
    """Command objects by name; the module of a command is imported when it is looked up.

    The module of a command ``NAME`` has a function ``NAME``, or ``app`` where it has commands of its own.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        super().__init__(dict.fromkeys(entries))
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if command is None:
            command = self[name] = _load(name, self._entries[name].module)
        return command

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  # dict.get would not import

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


def _load(name: str, where: str) -> Any:
    module = import_module(f".{where}", __package__)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(getattr(module, name))
    command = typer.main.get_command(app)
    command.name = name
    return command


def lazy_group(sections: Mapping[str, Mapping[str, Entry]], mentioned: Mapping[str, Mapping[str, str]]) -> Any:
    """A group of commands whose help lists them by section.

    Parameters
    ----------
    sections : mapping
        Title of a section of the help to its commands.
    mentioned : mapping
        Further lines of a section, which are no commands of this group.
    """
    entries = {name: entry for commands in sections.values() for name, entry in commands.items()}

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = LazyCommands(entries)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(entries)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            width = max(map(len, entries))
            for title, commands in sections.items():
                lines = {name: entry.summary for name, entry in commands.items()} | dict(mentioned.get(title, {}))
                with formatter.section(title):
                    formatter.write_dl([(f"{name:<{width}}", summary) for name, summary in lines.items()])

    return LazyGroup


def group_with_default(default: str) -> type[TyperGroup]:
    """A group that takes what follows it for its command `default`, unless it is the name of another command."""

    class DefaultGroup(TyperGroup):
        default_command = default

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if args and args[0] in self.commands:
                return super().parse_args(ctx, args)
            self._check_spelling(ctx, args)
            return super().parse_args(ctx, [default, *args])

        def _check_spelling(self, ctx: Any, args: list[str]) -> None:
            """What is nearly a command's name, and no folder, is that command misspelled."""
            import difflib

            if not args or args[0].startswith("-") or Path(args[0]).exists():
                return
            if near := difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.75):
                ctx.fail(
                    f"No such command {args[0]!r}, and no such folder. Did you mean '{ctx.command_path} {near[0]}'?"
                )

    return DefaultGroup
