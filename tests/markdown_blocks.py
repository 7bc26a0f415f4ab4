"""The fenced code blocks of the documentation, and the line above one that says how it is run, or why it cannot be.

<!-- not run: REASON -->     it is compiled or parsed alone
<!-- run with: FLAGS -->     its commands are run with these flags behind, which make them short
"""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?:not run: (?P<why>[^\n]+?)|run with: (?P<flags>[^\n]+?)) -->\n *)?"
    r"```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
ELLIPSIS = "..."


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        page: Its file, from the root of the repository.
        line: Of its first line of code.
        why_not: Why it is not run; None if it is.
        flags: With which its commands are run.
    """

    page: str
    line: int
    language: str
    code: str
    why_not: str | None
    flags: tuple[str, ...] = ()

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


def pages() -> list[str]:
    patterns = ("*.md", "docs/**/*.md", "recipes/*.md", "benchmarks/*.md")
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text[: found.start("code")].count("\n") + 1,
            found["language"],
            textwrap.dedent(found["code"]),
            found["why"],
            tuple(shlex.split(found["flags"] or "")),
        )
        for found in FENCE.finditer(text)
    ]


def _split(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            commands.append([])
        elif commands[-1] or not re.match(r"[A-Z_]+=", word):
            commands[-1].append(word)
    return commands
