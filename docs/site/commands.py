"""Every command of the command line, with its help, examples, arguments and options, as Markdown."""

from collections.abc import Iterator
from typing import Any

import typer
from table import code, plain, table

from spancredit.cli import app

MARK = "<!-- run short -->"
NEEDS = {"--verl": "needs verl"}  # examples that the tests cannot run


def commands() -> str:
    """The root, and every command, with its help, arguments and options."""
    root = typer.main.get_command(app)
    return "\n\n".join(_command(name, command) for name, command in [("spancredit", root), *_commands(root)])


def _commands(group: Any, name: str = "spancredit") -> Iterator[tuple[str, Any]]:
    for own, command in group.commands.items():
        yield f"{name} {own}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {own}")


def _command(name: str, command: Any) -> str:
    text, _, examples = (command.help or "").partition("Examples:")
    parts = [f"{'#' * max(2, len(name.split()))} {name}", *(_escaped(p) for p in text.strip().split("\n\n") if p)]
    if examples:
        lines = [f"$ {line.strip()}" for line in examples.splitlines() if line.strip()]
        but_for = [f"<!-- but for {word}: {why} -->" for word, why in NEEDS.items() if word in examples]
        parts.append("\n".join([MARK, *but_for, "```console", *lines, "```"]))
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    if arguments:
        rows = [(code(p.name.upper()), "yes" if p.required else "", p.help or "") for p in arguments]
        parts.append(table(("argument", "needed", "what"), rows))
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    if options:
        rows = [(code(p.opts[0]), _default(p), p.help or "") for p in options]
        parts.append(table(("option", "default", "what"), rows))
    return "\n\n".join(parts)


def _default(option: Any) -> str:
    return "" if option.is_flag or option.default is None else code(plain(option.default))


def _escaped(text: str) -> str:
    """Prose of the command line, where an asterisk is one."""
    return " ".join(text.split()).replace("*", "\\*")
