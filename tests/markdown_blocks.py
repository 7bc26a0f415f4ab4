"""The fenced code blocks of the documentation, and the lines above one that say how it is run, or why it cannot be.

<!-- not run: REASON -->         it is compiled or parsed alone
<!-- run with: FLAGS -->         its commands are run with those of these flags behind that they have
<!-- run short -->               its commands are run with flags that make them short; `run short: FLAGS` adds more
<!-- but for WORD: REASON -->    those of its commands that have this word are parsed alone
"""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^(?P<indent> *)(?P<marks>(?:<!-- (?:not run|run with|run short|but for)[^\n]* -->\n *)*)"
    r"```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(r"<!-- (?:(not run|run with|run short|but for) ?([^\n]*?)(?:: ([^\n]+?))?|([^\n]*)) -->")
ELLIPSIS = "..."


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        page: Its file, from the root of the repository.
        line: Of its first line of code.
        why_not: Why it is not run; None if it is.
        flags: With which its commands are run.
        short: Whether flags are added that make each command short.
        but_for: Words of commands that are not run.
    """

    page: str
    line: int
    language: str
    code: str
    why_not: str | None
    flags: tuple[str, ...] = ()
    short: bool = False
    but_for: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """Of a console block: the words of its commands, without comments, environment and ellipses."""
        whole = self.code.replace("\\\n", " ")
        lines = [line[2:] for line in whole.splitlines() if line.startswith("$ ")]
        commands = [part for line in lines for part in _split(shlex.split(line, comments=True))]
        return [[word for word in command if word != ELLIPSIS] for command in commands]

    @property
    def run_commands(self) -> list[list[str]]:
        """Of its commands those that are run."""
        if self.why_not is not None:
            return []
        return [command for command in self.commands if not set(self.but_for) & set(command)]


def pages() -> list[str]:
    patterns = ("*.md", "docs/**/*.md", "recipes/*.md", "benchmarks/*.md")
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [_block(page, text, found) for found in FENCE.finditer(text)]


def _block(page: str, text: str, found: re.Match[str]) -> Block:
    why_not, flags, short, but_for = None, "", False, []
    marks = MARK.findall(found["marks"])
    for kind, word, rest, broken in marks:
        named = {"not run": rest and not word, "run with": rest and not word, "run short": not word}
        assert not broken, f"{page} has a mark that is not known: {broken}"
        assert named.get(kind, word and rest), f"{page} has a mark that cannot be read: {found['marks']}"
        why_not = rest if kind == "not run" else why_not
        flags = rest if kind in ("run with", "run short") else flags
        short = short or kind == "run short"
        but_for += [word] if kind == "but for" else []
    assert sum(kind != "but for" for kind, *_ in marks) <= 1, f"{page} has marks that exclude each other: {marks}"
    line = text[: found.start("code")].count("\n") + 1
    code = textwrap.dedent(found["code"])
    return Block(page, line, found["language"], code, why_not, tuple(shlex.split(flags)), short, tuple(but_for))


def _split(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            commands.append([])
        elif commands[-1] or not re.match(r"[A-Z_]+=", word):
            commands[-1].append(word)
    return commands
