"""Whether a command that the documentation shows exists: the program, its files, and every flag. Nothing is run."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import typer

from spancredit.cli import app
from spancredit.commands.checked import parse_checked
from spancredit.commands.train_arguments import read_request
from spancredit.training.verl.settings import credit_config, obstacles

ROOT = Path(__file__).parents[1]
OTHERS = {"pre-commit", "torchrun", "trl"}  # of packages that are not ours: the name alone is checked


def check(command: list[str]) -> None:
    """Parse it as its program would, in the current folder.

    Raises:
        Exception: of the parser, or an AssertionError, if it could not be run.
    """
    program, *arguments = command
    program = program.removeprefix(".venv/bin/")
    checks = {"spancredit": check_spancredit, "python": check_python, "pip": check_pip, "make": check_make}
    if program == "accelerate":
        check_accelerate(arguments)
    elif program not in OTHERS:
        assert program in checks, f"the command {program} is not known"
        checks[program](arguments)


def check_spancredit(arguments: list[str]) -> None:
    if arguments[0] == "train":
        request = read_request(arguments[1:])
        if not request.resume:
            parse_checked(request.config, request.flags)
        return
    command = typer.main.get_command(app)
    if arguments[0].startswith("--"):
        known = {name for option in command.params for name in option.opts}
        assert set(arguments) <= known, f"spancredit has no option {arguments[0]}"
        return
    names: list[str] = []
    while hasattr(command, "commands"):
        names.append(arguments[0])
        assert arguments[0] in command.commands, f"spancredit has no command {' '.join(names)}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context(" ".join(names), list(arguments))


def check_python(arguments: list[str]) -> None:
    if arguments[:2] == ["-m", "verl.trainer.main_ppo"]:
        tree: dict = {}
        for override in arguments[2:]:
            name, separator, value = override.lstrip("+").partition("=")
            assert separator, f"{override} is no override of verl's"
            node = tree
            *path, last = name.split(".")
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
        tree.get("actor_rollout_ref", {}).get("rollout", {}).pop("temperature", None)  # a text here, a number there
        credit_config(tree)
        assert not obstacles(tree), obstacles(tree)
        return
    if arguments[:2] == ["-m", "pytest"]:
        arguments = arguments[2:3]
    script = ROOT / arguments[0]
    assert script.is_file(), f"there is no {arguments[0]}"
    for word in arguments[1:]:
        if word.startswith("--"):
            flag = word.partition("=")[0]
            assert flag in flags_of(script), f"{arguments[0]} has no flag {flag}"


@cache
def flags_of(script: Path) -> set[str]:
    """The flags of a script, which it has from argparse or typer."""
    flags: set[str] = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            flags |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
        if isinstance(node, ast.arg) and node.annotation and "typer.Option" in ast.unparse(node.annotation):
            flags.add(f"--{node.arg.replace('_', '-')}")
    return flags


def check_pip(arguments: list[str]) -> None:
    assert arguments[0] in ("install", "uninstall")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", project, re.DOTALL | re.MULTILINE)[1]
    extras = re.findall(r"^(\w+) = ", section, re.MULTILINE)
    for option, value in pairwise(arguments):
        if option == "-c":
            assert (ROOT / value).is_file(), f"there is no {value}"
        if option == "-e" and "[" in value:
            for extra in re.search(r"\[(.*)\]", value)[1].split(","):
                assert extra in extras, f"there is no extra {extra}"


def check_make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"the Makefile has no target {target}"


def check_accelerate(arguments: list[str]) -> None:
    assert arguments[0] == "launch"
    config = arguments[arguments.index("--config_file") + 1]
    assert (ROOT / config).is_file(), f"there is no {config}"
    module = arguments.index("-m")
    assert arguments[module + 1] == "spancredit"
    check_spancredit(arguments[module + 2 :])
