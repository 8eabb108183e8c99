"""Commands that are imported when they are asked for, and the groups that hold them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class Later(click.Command):
    """A command's name and line of help, so that a list of commands costs no import; it becomes the command when run.

    place: where the command is, as `module:name`.
    """

    def __init__(self, name: str, place: str, line: str) -> None:
        super().__init__(name, short_help=line)
        self.place = place

    def load(self) -> click.Command:
        """The command itself."""
        module, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The command's own context: click asks for one before it parses, and runs what the context names."""
        return self.load().make_context(info_name, args, parent, **extra)


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands' names."""
        return list(self.commands)


class Root(Group):
    """The outermost group: an interrupted command says nothing and exits with 130, as shells expect."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)
