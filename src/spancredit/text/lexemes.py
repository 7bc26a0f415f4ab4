r"""Read mathematical text as people and models write it (plain, LaTeX, markdown, full-width) into lexemes.

Every lexeme has a type of one character, so that a calculation is a regular expression over the types:

    n number, with currency, separators, decimals, percent    v letter alone, a variable     w word
    o operator    d perhaps an operator: a dash or slash without space around, "of", "times", the middle of a \frac
    = equals      ( ) brackets and braces, those of commands included     . anything else

Space, emphasis, alignment and list marks are no lexemes. A line break is a `.`, but beside an equals sign it is none.
"""

import re
from dataclasses import dataclass

CURRENCY = "$€£¥₹¢"
ENDS = r"(?![a-zA-Z])"  # a LaTeX command
LEXEME = re.compile(
    rf"""
    (?P<bullet> (?m:^)[^\S\n]* (?:[-−–*+•·]|\d{{1,3}}[.)]) (?=\s) )
    | (?P<gap> (?: [^\S\n] | [~&] | \\[,;:!\ ] | \\q?quad{ENDS} )+
        | (?<![\w)])\*\* | \*\*(?![\w(]) | \\(?:right|displaystyle){ENDS} )
    | (?P<line> (?:\n|\\\\)+ )
    | (?P<number> (?:\\?[{CURRENCY}][ ]?)?
        (?:\d{{1,3}}(?:(?:[,\ \u00a0\u202f]|\{{,\}}|\\,)\d{{3}})+(?!\d)|\d+|(?=\.\d)) (?:\.\d+|:\d\d(?!\d))?
        (?:[ ]\d{{1,3}}/\d{{1,3}}(?![\d/]))? [½⅓⅔¼¾⅛]?
        (?:\\?[%{CURRENCY}]|[ ][€¢]|°|[ ]?[ap]\.m\.)? )
    | (?P<open> \\(?:[dt]?frac|sqrt|boxed)\s?\{{ | (?:\\left\s?)?[(\[{{（] )
    | (?P<perhaps> \}}\{{ | \^ | \b(?:plus|minus|divided\sby)\b | \btimes(?=\s[\d$(.\\])
        | (?<=[%\d)}}]\s)of(?=\s[\d$(\\]) )
    | (?P<close> [)\]}}）] )
    | (?P<equals> ==?(?![>=]) | [≈＝] | \\approx{ENDS} | \bequals\b )
    | (?P<operator> [+*×÷·＋＊] | \\(?:times|cdot|div){ENDS} | (?<=\s)[-−–－/／](?=\s)
        | (?<=[\d\s)%}}])[xX](?=\s?(?:[\d$(\\]|\.\d)) )
    | (?P<tight> [-−–－/／] )
    | (?P<word> \\(?:text|textbf|mathrm|mathbf|mbox)\{{[^{{}}\n]{{0,40}}\}}
        | [^\W\d_]+(?:['’][^\W\d_]*|_\w+)? (?:\.(?=[ ]?[=+*/×÷−–-]|[a-z]|[ ]ft))? )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
TYPES = {
    "number": "n",
    "open": "(",
    "close": ")",
    "equals": "=",
    "operator": "o",
    "perhaps": "d",
    "tight": "d",
    "other": ".",
}
NO_VARIABLE = "aAI"
NO_UNIT = frozenset({"and", "or", "so", "then", "but", "is", "are", "was", "if", "because", "to"})  # they join, or tell


@dataclass(frozen=True)
class Lexemes:
    """Lexeme `i` is `text[starts[i]:ends[i]]`, of type `types[i]`."""

    types: str
    starts: list[int]
    ends: list[int]


def read_lexemes(text: str, start: int, end: int) -> Lexemes:
    """The lexemes of `text[start:end]`, in order. Linear time."""
    types: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    line_break: tuple[int, int] | None = None
    for match in LEXEME.finditer(text, start, end):
        kind = match.lastgroup or ""
        if kind == "line":
            line_break = match.span()
        elif kind not in ("gap", "bullet"):
            type_ = TYPES.get(kind) or _word_type(match.group(), types[-1:] == ["n"] and ends[-1] < match.start())
            if line_break and type_ != "=" and types[-1:] != ["="]:
                types.append(".")
                starts.append(line_break[0])
                ends.append(line_break[1])
            types.append(type_)
            starts.append(match.start())
            ends.append(match.end())
            line_break = None
    return Lexemes("".join(types), starts, ends)


def _word_type(word: str, counted: bool) -> str:
    """`counted`: a number and a space stand before it, so a letter is a unit (5 m) and no variable (5x)."""
    if word.lower() in NO_UNIT:
        return "."
    return "v" if len(word) == 1 and word.isascii() and word not in NO_VARIABLE and not counted else "w"
