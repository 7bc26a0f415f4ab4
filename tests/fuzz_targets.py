"""What is fuzzed: each `fuzz_*` draws one case and asserts what must hold of it. Errors of ours are answers, too."""

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, get_args

import torch
from rich.console import Console
from tokenizers_for_tests import SPECIAL, THINK, TOKENIZERS, UNTHINK, encode
from toy_models import ToyLM

import spancredit as sc
from spancredit.commands.train_arguments import parse, read_request
from spancredit.errors import SpanCreditError
from spancredit.execution.exchanges import exchanged, statements
from spancredit.execution.variants import variants
from spancredit.names import Mode
from spancredit.report.explainpage import explain_page
from spancredit.report.form import of_record
from spancredit.report.html import Section, page
from spancredit.report.lines import read_lines
from spancredit.report.records import make_record
from spancredit.report.terminal import explanation
from spancredit.report.visible import visible
from spancredit.sandbox import Call
from spancredit.sandbox.inside import wire
from spancredit.tasks.code import CodeProblem
from spancredit.tasks.code.extract import extract
from spancredit.tasks.numbers import final_number, read_number
from spancredit.text.align import AlignedText, align
from spancredit.text.answers import locate_answer
from spancredit.text.python import compiles, cut_python
from spancredit.text.segment import PIECES, segment

MODES = get_args(Mode)
MARKERS = ("####", "\\boxed{", "\\boxed", "}", "{", "<answer>", "</answer>", "the answer is ", "Answer: **", "$", "**")
MATHS = ("12", "1,200", "-", "=", " + ", "\\frac{1}{2}", "\\times", "²", "٣", "½", "%", "3 + 4 = 7", "1e9", "∞", "(")
PROSE = (". ", "。", "\n", "\n\n", "\r\n", "?!", "- ", "| a | b |", " the", "x", "</script><script>", "<!--", "\t")
CODE = ("```python\n", "```", "~~~\n", "def f(x):\n", "    return x\n", "    if x:\n", "else:\n", '"""', "'", "\\\n")
CODE += ("#", ";", "for i in", "lambda:", "    pass\n", "try:\n", "except:\n", "match x:\n", "    case 1:\n", "@a\n")
LETTERS = ("é", "好", "吗", "😀", "e\u0301", "👨\u200d👩\u200d👧", "\ufffd", "\U0010ffff", "ﷺ", "İ", "ǆ", "א", "\u200b")
LETTERS += ("\u2028", "\x00", "\u202e", "\ufeff", "\x0c", "\x1b[31m")
FRAGMENTS = (*MARKERS, *MATHS, *PROSE, *CODE, *LETTERS, *SPECIAL, THINK, UNTHINK)
PATTERNS = (None, r"\d+", r"(?P<answer>\d*)x?", r"(a)?b?", r"(?s).*")
JUNK = (None, True, False, -1, 0, 10**9, 10**400, 0.5, -1e308, math.nan, math.inf, "", "x", [], {}, [[]], {"a": 1})
LONG = 100_000  # bytes
CLOSING = ("}", "</answer>", ")", "```", "$")
PARSERS: dict[str, Callable[[str], Any]] = {
    "locate_answer": locate_answer,
    "final_number": final_number,
    "read_number": read_number,
    "cut_python": lambda said: cut_python(said, 0, len(said)),
    "extract": lambda said: extract(said, CodeProblem("f", "def f(x):\n", "f", None, (Call((1,)),), (0,))),
    "segment": lambda said: segmented(said),
    "visible": visible,
}
CONSOLE = Console(file=io.StringIO(), width=80)
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
EMPTY_PAGE = page("fuzz", "", [Section("s", "t")], {"": []})
WORDS = ("--seed", "--credit_mode", "--credit_boost=2", "--task", "code", "--resume", "--output_dir", "x", "uniform")
WORDS += ("--max_steps", "-1", "1", "nan", "--bf16", "--learning_rate", "1e-5", "--credit_horizon", "", "--", "--é")


def text(rng: Random, most: int = 30) -> str:
    """Fragments that mean something here, characters of any plane, and bytes that are no UTF-8."""
    parts = []
    for _ in range(rng.randrange(most)):
        kind = rng.random()
        if kind < 0.75:
            parts.append(rng.choice(FRAGMENTS))
        elif kind < 0.9:
            parts.append("".join(chr(_scalar(rng)) for _ in range(rng.randrange(4))))
        else:
            parts.append(rng.randbytes(rng.randrange(5)).decode(errors="replace"))
    return "".join(parts)


def _scalar(rng: Random) -> int:
    """A code point that is no surrogate."""
    point = rng.randrange(rng.choice((0x80, 0x800, 0x10000, 0x110000)))
    return point if not 0xD800 <= point < 0xE000 else 0xFFFD


def tokens(rng: Random) -> tuple[str, list[int]]:
    """Of any kind of tokenizer: a text's, or arbitrary ones."""
    name = rng.choice(list(TOKENIZERS))
    if rng.random() < 0.5:
        return name, encode(name, text(rng))
    return name, [rng.randrange(len(TOKENIZERS[name]())) for _ in range(rng.randrange(60))]


def check_aligned(aligned: AlignedText, ids: Sequence[int]) -> None:
    size = len(aligned.text)
    assert len(aligned.plain) == size, "plain is as long"
    assert len(aligned.starts) == len(aligned.ends) == len(ids), "no token is lost"
    assert list(aligned.starts) == sorted(aligned.starts), "starts do not fall"
    assert list(aligned.ends) == sorted(aligned.ends), "ends do not fall"
    bounds = list(zip(aligned.starts, aligned.ends, strict=True))
    assert all(0 <= start <= end <= size for start, end in bounds), "inside the text"
    assert {i for start, end in bounds for i in range(start, end)} == set(range(size)), "no character is lost"


def fuzz_aligned(rng: Random, _: Path) -> None:
    name, ids = tokens(rng)
    aligned = align(TOKENIZERS[name](), ids)
    check_aligned(aligned, ids)
    cuts = sorted(rng.randrange(len(aligned.text) + 1) for _ in range(rng.randrange(6)))
    tiles = aligned.tile([0, *cuts, len(aligned.text) + 1])
    assert [i for start, end in tiles for i in range(start, end)] == list(range(len(ids))), "tiles lose no token"


def fuzz_segmented(rng: Random, _: Path) -> None:
    name, ids = tokens(rng)
    aligned = align(TOKENIZERS[name](), ids)
    settings = sc.CreditConfig(
        segmenter=rng.choice([*PIECES, "window"]),
        max_spans=rng.randint(1, 12),
        max_span_tokens=rng.randint(1, 20),
        window_tokens=rng.randint(1, 9),
    )
    limit = rng.randint(0, len(ids))
    spans = segment(aligned, len(aligned.text), settings, limit)
    assert [i for span in spans for i in range(span.start, span.end)] == list(range(limit)), "spans tile the tokens"
    assert len(spans) <= settings.max_spans, "no more than permitted"
    assert len(spans) == settings.max_spans or all(span.size <= settings.max_span_tokens for span in spans), "short"


def segmented(said: str) -> list[sc.Span]:
    """By steps, characters for tokens."""
    aligned = AlignedText(said, said, tuple(range(len(said))), tuple(range(1, len(said) + 1)))
    return segment(aligned, len(said), sc.CreditConfig(), len(said))


def fuzz_located(rng: Random, _: Path) -> None:
    said = text(rng)
    match = locate_answer(said, rng.choice(PATTERNS))
    if match is not None:
        assert 0 <= match.reasoning_end <= match.start < match.end <= len(said), "in the text, behind the reasoning"
        assert said[match.start : match.end].strip(), "an answer says something"


def fuzz_read(rng: Random, _: Path) -> None:
    said = text(rng)
    for value in (final_number(said), read_number(said)):
        assert value is None or read_number(str(value)) == value or value.denominator != 1, "a number reads as itself"


def fuzz_cut(rng: Random, _: Path) -> None:
    """Python, and what is made of it: pieces tile, and what is left of a program without one still parses."""
    code = text(rng)
    pieces = cut_python(code, 0, len(code))
    assert [a for a, _, _ in pieces] == [0, *(b for _, b, _ in pieces)][: len(pieces)], "pieces tile"
    assert not code or pieces[-1][1] == len(code), "to the end"
    stretches = [(a, b) for a, b, _ in pieces]
    other = text(rng)
    parted = exchanged(code, statements(code), other, statements(other))
    changed = [*variants(code, stretches), parted.code]
    assert all(variant is None or compiles(variant) for variant in changed), "Python reads what is made"


def fuzz_extracted(rng: Random, _: Path) -> None:
    said = text(rng)
    prompt = rng.choice(('import math\ndef f(x):\n    """Doc."""\n', '"""Write f."""\n', "def f(x):\n"))
    found = extract(said, CodeProblem("f", prompt, "f", None, (Call((1,)),), (0,)))
    own = said[found.found : found.found + found.size]
    assert found.program[found.begins :].startswith(own), "the program holds what was found of it"
    a, b = sorted((rng.randint(0, len(said)), rng.randint(0, len(said))))
    first, last = found.place_of(a, b)
    assert found.begins <= first <= last <= found.begins + found.size, "places are inside"
    inside = said[max(a, found.found) : max(min(b, found.found + found.size), max(a, found.found))]
    assert not found.size or found.program[first:last] == inside, "and say the same"


def fuzz_credited(rng: Random, folder: Path) -> None:
    """A rollout of any tokens, scored or not: weights of mean 1, and a record that every view can be made of."""
    name, ids = tokens(rng)
    tokenizer = TOKENIZERS[name]()
    size = len(ids)
    cuts = sorted(rng.sample(range(size + 1), min(size + 1, rng.randint(0, 5))))
    spans = list(pairwise(cuts))
    drops = [rng.choice((0.0, 1.0, -1.0, 1e-300, 1e300, math.nan, math.inf, rng.gauss(0, 1))) for _ in spans]
    mask = None if rng.random() < 0.7 else [rng.randrange(2) for _ in ids]
    rollout = sc.Rollout([1, 2], ids, advantage=rng.choice((None, 0.0, 1.0, -2.5)), loss_mask=mask)
    mode = rng.choice([mode for mode in MODES if mode not in ("mediated", "blame")])
    (credit,) = sc.credit_from_drops([rollout], [spans], [drops], sc.CreditConfig(mode=mode))
    weights_T = credit.token_weights if mask is None else credit.token_weights[torch.tensor(mask, dtype=torch.bool)]
    assert credit.token_weights.isfinite().all(), "weights are finite"
    assert not len(weights_T) or abs(weights_T.mean().item() - 1) < 1e-4, "and 1 in the mean"
    record = json.loads(json.dumps(make_record(rollout, credit, tokenizer, 1, 1.0)))
    assert len(record["tokens"]) == len(record["token_weights"]) == size, "a record loses no token"
    assert "".join(record["tokens"]) == align(tokenizer, ids).text, "nor a character"
    if rng.random() < 0.03:  # slower than all else
        html = page("fuzz", "", [Section("s", "t")], {"": [record]})
        assert html.count("<script") == EMPTY_PAGE.count("<script"), "what a model writes begins no script"
    explanation(record)


@cache
def toy() -> ToyLM:
    """A policy for any of the tokenizers."""
    size = max(len(tokenizer()) for tokenizer in TOKENIZERS.values())
    table = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ToyLM(table * 0.7)


def fuzz_scored(rng: Random, _: Path) -> None:
    """The whole pipeline on a toy policy: a text is tokenized, its spans and its answer are found, and it is scored."""
    name, ids = tokens(rng)
    if rng.random() < 0.5:  # else few have an answer
        ids += encode(name, rng.choice(("\n#### 12", " \\boxed{7}", "<answer>3", " The answer is 4.")) + text(rng, 2))
    config = sc.CreditConfig(
        scorer=rng.choice(("packed", "batched", "sequential")),
        mode=rng.choice(MODES),
        intervention=rng.choice(("pad", "delete", "filler")),
        segmenter=rng.choice([*PIECES, "window"]),
        max_spans=rng.randint(1, 4),
    )
    rollout = sc.Rollout([0], ids, advantage=rng.choice((1.0, -1.0, None)))
    (credit,) = sc.assign_credit(toy(), TOKENIZERS[name](), [rollout], config)
    assert len(credit.token_weights) == len(ids), "no token is lost"
    assert not ids or abs(credit.token_weights.mean().item() - 1) < 1e-4, "weights are 1 in the mean"
    assert credit.reason in (None, *sc.REASONS), "and why they are all 1 has a name"
    assert credit.reason is not None or credit.spans, "what is scored has spans"
    ends = [span.end for span in credit.spans]
    assert [span.start for span in credit.spans] == [0, *ends][: len(ends)], "which tile the reasoning"
    assert credit.answer is None or not ends or ends[-1] <= credit.answer.start < credit.answer.end <= len(ids), "to it"


def fuzz_recorded(rng: Random, folder: Path) -> None:
    """Any bytes as a file of records, and real ones in which anything was changed: rows to be shown, or a sentence."""
    path = folder / "records.jsonl"
    whole = json.dumps(mutated(rng, real_record(rng.randrange(8)))).encode()
    lines = [
        rng.choice((whole, b'{"step": 1}', b'{"step": "x"}', b"[]", b"{", b"null", b"[" * 3000, rng.randbytes(8)))
        for _ in range(rng.choice((1, 1, 5)))
    ]
    path.write_bytes(b"\n".join(lines) + rng.choice((b"", b"\n")))
    with suppress(SpanCreditError):
        for row in read_lines(path, faults=of_record):
            assert type(row["step"]) is int, "rows have steps"
            CONSOLE.print(explanation(row))
            if rng.random() < 0.05:  # slower than all else
                html = explain_page(row, "fuzz", "")
                assert html.count("<script") == EMPTY_PAGE.count("<script"), "what it holds begins no script"
                json.loads(DATA.search(html)[1], parse_constant=_no_constant)  # type: ignore[index]


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON: the page's script could not read it")


@cache
def real_record(number: int) -> dict[str, Any]:
    """As a run writes it."""
    rng = Random(number)
    name, ids = "qwen2", encode("qwen2", f"{text(rng)} 2 + 3 = 5.\n#### 5")
    rollout = sc.Rollout([0, 1], ids, advantage=0.5)
    (credit,) = sc.assign_credit(toy(), TOKENIZERS[name](), [rollout])
    return json.loads(json.dumps(make_record(rollout, credit, TOKENIZERS[name](), 1, 1.0, right=True)))  # type: ignore[no-any-return]


def mutated(rng: Random, value: Any) -> Any:
    """The same with one part of it, wherever, left out, doubled, or something else."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        copy = dict(value) if isinstance(value, dict) else list(value)
        key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        if rng.random() < 0.2:
            del copy[key]
        else:
            copy[key] = mutated(rng, copy[key])
        return copy
    return rng.choice((*JUNK, text(rng, 3), value, [value, value]))


def fuzz_repeated(rng: Random, _: Path) -> None:
    """One fragment, or two of them nested, over and over: no parser takes more than a time that grows with the text."""
    opening, closing = rng.choice(FRAGMENTS) + rng.choice(("", "1", " ", "\n")), rng.choice(("", "", *CLOSING))
    count = LONG // len((opening + closing).encode())
    said = opening * count + closing * count
    name = rng.choice(list(PARSERS))
    PARSERS[name](said)


def fuzz_wired(rng: Random, _: Path) -> None:
    """Any bytes as a candidate's reply: a value, or a WireError; and any value there and back."""
    value = _value(rng, 3)
    data = wire.encode(value, 1 << 20, opaque=False)
    assert repr(wire.decode(data)) == repr(value), "a value comes back"
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        if broken:
            broken[rng.randrange(len(broken))] = rng.randrange(256)
    with suppress(wire.WireError):
        wire.decode(bytes(broken[: rng.randint(0, len(broken))]))


def _value(rng: Random, depth: int) -> Any:
    leaf = rng.choice((None, True, rng.getrandbits(80), -1.5, 1j, text(rng, 3), rng.randbytes(3)))
    if not depth or rng.random() < 0.4:
        return leaf
    parts = [_value(rng, depth - 1) for _ in range(rng.randrange(3))]
    return rng.choice((parts, tuple(parts), {str(i): part for i, part in enumerate(parts)}))


def fuzz_asked(rng: Random, _: Path) -> None:
    """Any command line of `train`: settings, or one sentence."""
    argv = [rng.choice(WORDS) if rng.random() < 0.9 else text(rng, 3) for _ in range(rng.randrange(6))]
    with suppress(SpanCreditError):
        request = read_request(argv)
        if rng.random() < 0.02:  # slow: TRL's parser has 300 flags
            parse(request.config, request.flags)
