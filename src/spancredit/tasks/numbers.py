"""The strict check of a numeric answer: one number, read exactly, or none. Nothing is ever calculated.

The answer stands after the last `####`, to the end of its line, or in `\\boxed{...}`; boxes may repeat each other, but
two answers that differ are none. Beside a box, a `####` line without a number is a heading. Hashes that close the line
are left out, and so are marks that open before it (`**#### 18**`). A worded answer ("the answer is 18") is not read: it
is not the form that was asked for, and where it ends is a guess.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from spancredit.errors import DataError
from spancredit.tasks.chat import Completion, said

LONGEST = 100  # characters of a number with its unit; more is not read

FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
PLAIN = {**FULL_WIDTH, ord("\N{MINUS SIGN}"): "-", ord("\N{IDEOGRAPHIC FULL STOP}"): ".", ord("’"): "'"}
LATEX = (
    (re.compile(r"\\(?:text|textbf|mathbf|mathrm|mbox)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\^?(?:\{\\(?:circ|degree)\}|\\(?:circ|degree)(?![a-z]))"), "°"),
    (re.compile(r"°\s(?=[CF]\b)"), "°"),
    (re.compile(r"\\\(([^()]*)\\\)"), r"$\1$"),
    (re.compile(r"\{,\}|,\\!"), ","),
    (re.compile(r"\\,"), "\N{THIN SPACE}"),
    (re.compile(r"\\[ ;:]"), " "),
    (re.compile(r"(?<=\d)\s*\\[dt]?frac(?=\{)"), r" \\frac"),
    (re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", re.ASCII), r"\1/\2"),
)
WRAPPERS = (
    *(("**", "**"), ("*", "*"), ("__", "__"), ("_", "_"), ("`", "`"), ('"', '"')),
    *(("{", "}"), ("$", "$"), ("\\[", "\\]")),
)
FULL_STOP = re.compile(r"(?<!\.)\.$")

CURRENCY = r"\\?[$€£¥₹¢]\s?"
GROUPS = "|".join(rf"[1-9]\d{{0,2}}(?:{separator}\d{{3}})+" for separator in (",", "[\u00a0\u2009\u202f]"))
NUMBER = re.compile(
    rf"""(?P<mark>\*\*|\*|__|_|`|\$\$|\$|)
    (?P<sign>[-+]?(?:{CURRENCY})?|{CURRENCY}[-+])
    (?:(?:(?P<whole>\d+)\s+)?(?P<over>\d+)\s?/\s?(?P<under>\d+) | (?P<decimal>(?:{GROUPS}|\d+)(?:\.\d+)?|\.\d+))
    (?:\s?(?:\\?%|{CURRENCY}))?
    (?P=mark)(?P<unit>.*)""",
    re.ASCII | re.VERBOSE,
)
SEPARATORS = re.compile(r"[,\s]")

BETWEEN_WORDS = re.compile(r"[\s~/-]+(?:a\s+)?")
WORD = re.compile(r"([A-Za-z][A-Za-z']*|°[CF]?)\.?(?:\^[23]|\^\{[23]\}|[²³])?")
ATTACHED = re.compile(r"[km]?g|[ckm]m|ft|lbs?|oz|m?[lL]|h|hrs?|min|s|[ap]m|[AP]M|mph|°[CF]?")  # 5m: metres, millions?
SHORT = re.compile(rf"{ATTACHED.pattern}|m")
PLAINER = (
    (re.compile(r"\b([ap])\.\s?m\b\.?", re.IGNORECASE), r"\1m"),
    (re.compile(r"(?<=\s)(?![kmb]-)[a-z]-(?=[a-z]{2})", re.IGNORECASE), ""),  # T-shirts
    (re.compile(r"\s\(([a-z][a-z ]*)\)", re.IGNORECASE), r" \1"),
)
ALTERING = re.compile(
    r"""(?:hundred|thousand|[a-z]*illion)(?:th)?s?
    |(?:thou|grand|dozen|gross|score|lakh|crore|myriad|mil|mille|mio|mrd|m?ln|mn|bil|bl?n|tril|tr?n|tausend
    |zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen
    |(?:twen|thir|for|fif|six|seven|eigh|nine)ty|half|halve|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth
    |eleventh|twelfth|[a-z]+teenth|[a-z]+tieth|st|nd|rd|th
    |double|triple|treble|quadruple|(?:two|three|four|five|six|ten|hundred|thousand|mani)?fold|root|power|factorial|sqrt|pi|tau)s?
    |(?:doubl|tripl|trebl|quadrupl|halv|squar|cub)ed|twice|thrice
    |and|or|not|nor|[a-z]+n't|plus|minus|times|point|neg|negative|more|less|fewer|below|basis""",
    re.IGNORECASE | re.VERBOSE,
)
HASHES = re.compile(r"#{4,}(?P<line>(?:[^\n#]|#(?!###))*)(?:#+[ \t\r*_]*$)?", re.MULTILINE)
BOX = re.compile(r"\\boxed\s*\{")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def reward(completions: Sequence[Completion], answer: Sequence[Any], **_: Any) -> list[float]:
    """TRL's form: 1 where a completion's final number equals the gold one exactly, else 0.

    Args:
        completions: Texts, or the messages of a conversation, of which the last counts.
        answer: The gold numbers; a worked solution that ends `#### N` will do.

    Raises:
        DataError: if a gold answer is no number.
    """
    golds = [_gold(one, i) for i, one in enumerate(answer)]
    return [float(final_number(said(one)) == gold) for one, gold in zip(completions, golds, strict=True)]


def final_number(text: str) -> Fraction | None:
    """The number that a completion gives as its answer; None if there is none, or are several."""
    line = read_number(last_line(text))
    inside = map(read_number, boxes(text))
    first = next(inside, line)
    if first is None or (line is not None and line != first):
        return None
    return first if all(number == first for number in inside) else None


def read_number(text: str) -> Fraction | None:
    """One number as people write it, exactly; None for anything else, and for more than `LONGEST` characters.

    Read are a sign, currency on either side, thousands in groups of three (by commas or non-breaking spaces), decimals,
    `3/4`, `1 3/4` and `\\frac{3}{4}`, a percent sign (`50%` is 50: problems ask "what percent"), degrees, a unit in
    English words, one full stop, and bold, code or maths marks around it; ASCII and full-width digits. Not read are
    divisions left undone (`36/2`), scales (`18k`, `18 thousand`), ordinals, words that may change the value (`3
    quarters`, though they be coins; `5 less`), and anything that would have to be calculated.
    """
    if len(text) > LONGEST:
        return None
    match = NUMBER.fullmatch(_unwrapped(_plain(text)))
    if match is None or not _is_unit(match["unit"]):
        return None
    size = _fraction(match) if match["over"] else Fraction(SEPARATORS.sub("", match["decimal"]))
    return -size if size is not None and "-" in match["sign"] else size


def last_line(text: str) -> str:
    """What stands after the last `####`; empty if there is none."""
    *_, last = (None, *HASHES.finditer(text))
    if last is None:
        return ""
    line = last["line"].strip().rstrip("#").rstrip()
    mark = next((one for one in ("**", "__", "*", "_") if text.endswith(one, 0, last.start())), "")
    return line.removeprefix(mark).removesuffix(mark) if mark and line.count(mark) % 2 else line


def boxes(text: str) -> Iterator[str]:
    """What stands in boxes, once each, but for empty ones; of a box that has no end, or is long, the mere marker."""
    seen = {""}
    for box in BOX.finditer(text):
        depth, inside = 1, text[box.end() : box.end() + LONGEST + 1]
        for brace in BRACE.finditer(inside):
            depth += {"{": 1, "}": -1}.get(brace.group(), 0)
            if not depth:
                break
        content = box.group() if depth else inside[: brace.start()].strip()
        if content not in seen:
            seen.add(content)
            yield content


def _plain(text: str) -> str:
    text = text.translate(PLAIN)
    for pattern, plain in LATEX:
        text = pattern.sub(plain, text)
    return text


def _unwrapped(text: str) -> str:
    """Without what stands around all of it: spaces, pairs of marks, a full stop."""
    bare = FULL_STOP.sub("", text.strip()).strip()
    for opening, closing in WRAPPERS:
        if bare.startswith(opening) and bare.endswith(closing) and len(bare) > len(opening + closing):
            bare = bare[len(opening) : -len(closing)]
            break
    return bare if bare == text else _unwrapped(bare)


def _fraction(match: re.Match[str]) -> Fraction | None:
    whole, over, under = (int(match[name] or 0) for name in ("whole", "over", "under"))
    if under == 0 or over % under == 0 or (match["whole"] and over > under):
        return None
    return whole + Fraction(over, under)


def _is_unit(text: str) -> bool:
    """Whether words after a number say of what it is, and do not change how much."""
    if not text:
        return True
    for pattern, plainer in PLAINER:
        text = pattern.sub(plainer, text)
    _, *words = BETWEEN_WORDS.split(" " + text)
    names = [match[1] if (match := WORD.fullmatch(word)) else "" for word in words]
    attached = text.startswith(names[0])
    return all(map(_names_a_unit, names)) and (not attached or ATTACHED.fullmatch(names[0]) is not None)


def _names_a_unit(word: str) -> bool:
    return SHORT.fullmatch(word) is not None or (len(word) > 1 and not ALTERING.fullmatch(word))


def _gold(answer: Any, index: int) -> Fraction:
    text = str(answer)
    number = final_number(text) if "####" in text else read_number(text)
    if number is None:
        raise DataError(f"the gold answer of completion {index} is {text[-40:]!r}; expected a number.")
    return number
