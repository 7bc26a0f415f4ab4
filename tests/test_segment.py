"""Segmenters: what they cut, and that their spans tile the reasoning for any text, tokenizer and limit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_for_tests import EOS, TOKENIZERS, TOOL, encode

from spancredit.config import CreditConfig
from spancredit.text.align import AlignedText, align
from spancredit.text.answers import locate_answer
from spancredit.text.locate import locate_reasoning
from spancredit.text.segment import PIECES, Piece, lines, segment, sentences, steps
from spancredit.types import Rollout

CALCULATIONS = [
    # (text, pieces: calculations in brackets)
    ("He has 3 d 4 = 12 of them.", ["He has 3 d 4 = 12 of them."]),
    (r"So 7 \times 7 = 49", ["So ", r"[7 \times 7 = 49]"]),
    ("She earns 5 * 2 = $10 today.", ["She earns ", "[5 * 2 = $10]", " today."]),
    ("1,200 + 300 = 1,500 in all", ["[1,200 + 300 = 1,500]", " in all"]),
    ("Then 2.50 + 1 = 3.50 more.", ["Then ", "[2.50 + 1 = 3.50]", " more."]),
    ("Tom has 3 + 4 = 7 and more. He rests.", ["Tom has ", "[3 + 4 = 7]", " and more.", " He rests."]),
    ("5 apples + 3 apples = 8 apples", ["[5 apples + 3 apples = 8]", " apples"]),
    ("(3 + 4) * 2 = 14", ["[(3 + 4) * 2 = 14]"]),
    (r"\frac{1}{2} \cdot 8 = 4", [r"[\frac{1}{2} \cdot 8 = 4]"]),
    ("20% of 50 = 10", ["[20% of 50 = 10]"]),
    ("12 x 3 = 36", ["[12 x 3 = 36]"]),
    ("48/2 = 24", ["[48/2 = 24]"]),
    ("x = 5 + 3", ["[x = 5 + 3]"]),
    ("16 - 3 - 4", ["[16 - 3 - 4]"]),
    ("First 3 + 4 = 7, then 7 * 2 = 14.", ["First ", "[3 + 4 = 7]", ", then ", "[7 * 2 = 14.]"]),
    ("On 2024-05-01, 3/4 of pages 3-5", ["On 2024-05-01, 3/4 of pages 3-5"]),
    ("7 = 7 and a = b", ["7 = 7 and a = b"]),
    ("他有苹果。3 + 4 = 7。好。", ["他有苹果。", "[3 + 4 = 7。]", "好。"]),
]
LATEX = [
    (r"So $7 \times 7 = 49$ in all.", ["So ", r"[$7 \times 7 = 49$]", " in all."]),
    (r"\[ \frac{12 \times 3}{4} = 9 \]", [r"[\[ \frac{12 \times 3}{4} = 9 \]]"]),
    (r"So \dfrac{48}{2} = 24 \text{ clips}", ["So ", r"[\dfrac{48}{2} = 24]", r" \text{ clips}"]),
    (r"\left(3 + 4\right) \cdot 2 = 14", [r"[\left(3 + 4\right) \cdot 2 = 14]"]),
    (r"\text{Total} = \text{price} \times 3 = 15", [r"[\text{Total} = \text{price} \times 3 = 15]"]),
    (r"5 \text{ m} - 2 \text{ m} = 3", [r"[5 \text{ m} - 2 \text{ m} = 3]"]),
    (r"1{,}200 + 300 = 1{,}500", [r"[1{,}200 + 300 = 1{,}500]"]),
    (r"\$5 \times 3 = \$15", [r"[\$5 \times 3 = \$15]"]),
    (r"1\,200 \div 4 \approx 300", [r"[1\,200 \div 4 \approx 300]"]),
    (r"\sqrt{16} + 2^2 = 8", [r"[\sqrt{16} + 2^2 = 8]"]),
    (r"She ate \frac{1}{2} of them, 3^2 or \$5.", [r"She ate \frac{1}{2} of them, 3^2 or \$5."]),
    (
        "\\begin{aligned}\n5 \\times 3 + 2 &= 15 + 2 \\\\\n&= 17\n\\end{aligned}\n",
        ["\\begin{aligned}\n", "[5 \\times 3 + 2 &= 15 + 2 \\\\\n&= 17\n]", "\\end{aligned}\n"],
    ),
    (r"x &= 5 + 1 \\ y &= 3 \times 2", [r"[x &= 5 + 1 \\ ]", r"[y &= 3 \times 2]"]),
]
MARKDOWN = [
    ("**Step 1:** 3 + 4 = **7** eggs.", ["**Step 1:** ", "[3 + 4 = **7]", "** eggs."]),
    ("- 5 eggs + 3 eggs = 8 eggs\n- 2 more\n", ["[- 5 eggs + 3 eggs = 8]", " eggs\n", "- 2 more\n"]),
    ("Sums:\n* 3 + 4 = 7\n1. 2 * 3 = 6\n", ["Sums:\n", "[* 3 + 4 = 7\n]", "1. ", "[2 * 3 = 6\n]"]),
    ("a) 3 + 4 = 7\n2) 5 * 3 = 15", ["a) ", "[3 + 4 = 7\n]", "2) ", "[5 * 3 = 15]"]),
    (
        "| Day | Sum |\n|---|---|\n| Mon | 3 * 4 = 12 |\n| Tue | 5 |\n",
        ["| Day | Sum |\n|---|---|\n", "| Mon | ", "[3 * 4 = 12 |\n]", "| Tue | 5 |\n"],
    ),
    ("$$\n5 + 3 = 8\n$$", ["[$$\n5 + 3 = 8\n$$]"]),
    ("Title\n=====\nA book", ["Title\n=====\n", "A book"]),
    ("<think>\nOkay, 3 + 4 = 7.</think>It is 7.", ["<think>\n", "Okay, ", "[3 + 4 = 7.]", "</think>", "It is 7."]),
    ("<think>Twice as many.</think>\n\nSo 5*2=10.", ["<think>", "Twice as many.", "</think>\n\n", "So ", "[5*2=10.]"]),
]
CHAINS = [
    ("r = 120/2 = 60 / 1 = 60 mph", ["[r = 120/2 = 60 / 1 = 60]", " mph"]),
    (
        "Total = 5 * 3 + 2\n      = 15 + 2\n      = 17\nDone.",
        ["[Total = 5 * 3 + 2\n      = 15 + 2\n      = 17\n]", "Done."],
    ),
    ("Total:\n= 5 + 3\n\n= 8", ["Total:\n= ", "[5 + 3\n\n= 8]"]),
    ("She has 5 + 3 =\n8 of them", ["She has ", "[5 + 3 =\n8]", " of them"]),
    ("5 + 3 = 8 => 8 + 2 = 10", ["[5 + 3 = 8 => ]", "[8 + 2 = 10]"]),
    ("x = 5 and y = 3", ["[x = 5]", " and ", "[y = 3]"]),
    ("2x + 3 = 11, so x = 4.", ["[2x + 3 = 11]", ", so ", "[x = 4.]"]),
    ("3(4 + 5) = 27", ["[3(4 + 5) = 27]"]),
]
UNITS = [
    ("3 apples x 4 = 12 apples", ["[3 apples x 4 = 12]", " apples"]),
    ("$5/hour * 8 hours = $40", ["[$5/hour * 8 hours = $40]"]),
    ("5$ * 3 = 15$ and 2 € + 1 € = 3 €", ["[5$ * 3 = 15$]", " and ", "[2 € + 1 € = 3 €]"]),
    ("3 lbs. + 4 lbs. = 7 lbs. Then", ["[3 lbs. + 4 lbs. = 7]", " lbs.", " Then"]),
    ("5 eggs (brown) + Ann's 3 = 8", ["[5 eggs (brown) + Ann's 3 = 8]"]),
    ("8:20 a.m. - 8:00 a.m. = 20 minutes", ["[8:20 a.m. - 8:00 a.m. = 20]", " minutes"]),
    ("It is 15% of $200 = $30.", ["It is ", "[15% of $200 = $30.]"]),
    ("0.5 * 3/4 = .375", ["[0.5 * 3/4 = .375]"]),
    ("1 1/2 + 2½ = 4", ["[1 1/2 + 2½ = 4]"]),
    ("1 000 000 + 500 000 = 1 500 000", ["[1 000 000 + 500 000 = 1 500 000]"]),
    ("5 m * 4 m = 20 m", ["[5 m * 4 m = 20]", " m"]),
    ("500 x .45 = 225", ["[500 x .45 = 225]"]),
    ("3 times 5 equals 15.", ["[3 times 5 equals 15.]"]),
    (
        "3个苹果 ＋ 4个苹果 ＝ 7个。然后 7 × 2 ＝ 14。",
        ["[3个苹果 ＋ 4个苹果 ＝ 7]", "个。", "然后 ", "[7 × 2 ＝ 14。]"],
    ),
    ("8 ÷ 2 ＝ 4，9 － 2 ＝ 7", ["[8 ÷ 2 ＝ 4，]", "[9 － 2 ＝ 7]"]),
]
PROSE = [
    "She has twice as many apples as Tom, who has 12.",
    "He is 3 times as old as 4 of them, half of the 50 students.",
    "In 2019-20 a 15-year-old ran 3-5 days, 24/7, and/or 1/2 of 20% of 50.",
    "The ratio 3:5 is 6:10 at 8:30 p.m. on 05/01/2024.",
    "It costs $3$ dollars for $4$ apples, 5 $1 bills.",
    "Step 2 of 5: compare 3 apples, 4 pears; then (as in 1) rest.",
]
CODE = [
    (
        "So:\n```python\nprice = 3.50\ntotal = price * 3  # eggs. Yes\nprint('a - b. So')\n```\nIt is 7. Yes",
        [
            "So:\n",
            "```python\n",
            "[price = 3.50\n]",
            "[total = price * 3  # eggs. Yes\n]",
            "print('a - b. So')\n```\n",
            "It is 7.",
            " Yes",
        ],
    ),
    ("```\n# a well-known. One\nreturn 7 + x", ["```\n# a well-known. One\n", "[return 7 + x]"]),
    ("It is `total = price * 3` here", ["It is `", "[total = price * 3]", "` here"]),
]
SENTENCES = [
    ("It costs 3.5 dollars. Version 3.11 is out.", ["It costs 3.5 dollars.", " Version 3.11 is out."]),
    ("Is it 5? Yes! No...", ["Is it 5?", " Yes!", " No..."]),
    ('He said "no." Then left.', ['He said "no."', " Then left."]),
    ("1. Add them.\n2. Stop.\n10. Rest.", ["1. Add them.\n", "2. Stop.\n", "10. Rest."]),
    ("Dr. Smith, e.g. a man vs. a horse. Done.", ["Dr. Smith, e.g. a man vs. a horse.", " Done."]),
    ("他有三个苹果。她说：“好！”然后走了。", ["他有三个苹果。", "她说：“好！”", "然后走了。"]),
    ("Wait.\n\nNo", ["Wait.\n\n", "No"]),
    ("**1.** Add.\n- 2. Stop.\nAt 3 sq. ft. now.", ["**1.** Add.\n", "- 2. Stop.\n", "At 3 sq. ft.", " now."]),
    ("A:\n```\nx = a. b\ny. z\n```\nIt. No", ["A:\n```\n", "x = a. b\n", "y. z\n```\n", "It.", " No"]),
    ("Total is $5. Next", ["Total is $5.", " Next"]),
    ("Hm.... So", ["Hm....", " So"]),
    ("\n\nHi. \n", ["\n\nHi. \n"]),
    ("...", ["..."]),
    ("", [""]),
]
LINES = [
    ("a. b\nc\n\n\nd", ["a. b\n", "c\n\n\n", "d"]),
    ("\n\na\n---\nb\n", ["\n\na\n---\n", "b\n"]),
]


@pytest.mark.parametrize(("text", "expected"), [*CALCULATIONS, *LATEX, *MARKDOWN, *CHAINS, *UNITS, *CODE])
def test_steps_are_calculations_and_the_text_around_them(text: str, expected: list[str]):
    marked = [f"[{text[a:b]}]" if kind == "calculation" else text[a:b] for a, b, kind in steps(text)]
    assert marked == expected


@pytest.mark.parametrize("text", PROSE)
def test_prose_without_arithmetic_is_text(text: str):
    assert all(kind == "text" for _, _, kind in steps(text))


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentences(text: str, expected: list[str]):
    assert [text[a:b] for a, b, _ in sentences(text)] == expected


@pytest.mark.parametrize(("text", "expected"), LINES)
def test_lines(text: str, expected: list[str]):
    assert [text[a:b] for a, b, _ in lines(text)] == expected


def assert_pieces_tile(text: str, pieces: list[Piece]) -> None:
    assert [a for a, _, _ in pieces] == [0, *(b for _, b, _ in pieces[:-1])]
    assert pieces[-1][1] == len(text)
    assert all(a < b for a, b, _ in pieces) or not text


FRAGMENTS = ["3 + 4 = 7", " 1,200", " the", ". ", "。", "\n", "\n\n", "?!", "- ", "x = ", "😀", "好", "é", TOOL, EOS]
FRAGMENTS += ["(", ")", "\\times ", "$", "e\u0301", "👨\u200d👩\u200d👧", "12. ", "...", "   "]
messy_text = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=30).map("".join)


@pytest.mark.parametrize("segmenter", PIECES)
@given(text=messy_text)
@settings(max_examples=60, deadline=None)
def test_pieces_tile_any_text(segmenter: str, text: str):
    assert_pieces_tile(text, PIECES[segmenter](text))


def first_token_at(aligned: AlignedText, end: int) -> int:
    """The first token whose first visible character stands at `end` or later."""
    for i, (start, stop) in enumerate(zip(aligned.starts, aligned.ends, strict=True)):
        if next((c for c in range(start, stop) if not aligned.text[c].isspace()), start) >= end:
            return i
    return len(aligned.starts)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("segmenter", [*PIECES, "window"])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_spans_cover_every_token_before_the_answer_and_keep_the_limits(name: str, segmenter: str, data: st.DataObject):
    ids = encode(name, data.draw(messy_text))
    aligned = align(TOKENIZERS[name](), ids)
    end = data.draw(st.integers(0, len(aligned.text)))
    token_limit = data.draw(st.integers(0, len(ids)))
    max_spans, max_span_tokens, window = (data.draw(st.integers(1, most)) for most in (12, 20, 9))
    config = CreditConfig(
        segmenter=segmenter, max_spans=max_spans, max_span_tokens=max_span_tokens, window_tokens=window
    )
    spans = segment(aligned, end, config, token_limit)
    limit = min(first_token_at(aligned, end), token_limit)
    assert [i for span in spans for i in range(span.start, span.end)] == list(range(limit))
    assert all(span.size > 0 for span in spans)
    assert len(spans) <= max_spans
    if len(spans) < max_spans:  # else some may have been merged
        assert all(span.size <= max_span_tokens for span in spans)
    assert all(span.text == aligned.text[aligned.starts[span.start] : aligned.ends[span.end - 1]] for span in spans)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_end_of_a_long_reasoning_is_still_measured(name: str):
    ids = encode(name, "".join(f"Add {i} apples. Then {i} + 1 = {i + 1}.\n" for i in range(60)) + "#### 60")
    config = CreditConfig(max_spans=10)
    spans, answer = locate_reasoning(0, Rollout([1], ids), TOKENIZERS[name](), config)
    assert answer is not None
    assert len(spans) == 10
    assert "59 + 1 = 60" in spans[-1].text
    assert max(span.size for span in spans) <= 4 * spans[-1].end / 10  # merging does not pile up in one place


def test_a_long_span_is_split_evenly():
    ids = encode("byte_level", "x" * 100)
    config = CreditConfig(segmenter="sentence", max_span_tokens=30)
    spans = segment(align(TOKENIZERS["byte_level"](), ids), 100, config, 100)
    assert [span.size for span in spans] == [25, 25, 25, 25]


def test_windows_have_a_fixed_number_of_tokens():
    ids = encode("byte_level", "x" * 40)
    spans = segment(align(TOKENIZERS["byte_level"](), ids), 40, CreditConfig(segmenter="window"), 35)
    assert [(span.start, span.end, span.kind) for span in spans] == [
        (0, 16, "window"),
        (16, 32, "window"),
        (32, 35, "window"),
    ]


def test_merged_spans_keep_the_kind_of_the_longer():
    ids = encode("byte_level", "So 3 + 4 = 7.")
    (span,) = segment(align(TOKENIZERS["byte_level"](), ids), 13, CreditConfig(max_spans=1), len(ids))
    assert (span.kind, span.text) == ("calculation", "So 3 + 4 = 7.")


ADVERSARIAL = {
    "parentheses": "(" * 20_000,
    "nested_sum": "(1+" * 6_000,
    "sum": "1+" * 10_000,
    "sum_with_words": "1 a b + " * 2_500,
    "closing": "1) + " * 4_000,
    "boxes": "\\boxed{" * 2_900,
    "box_with_unit": "\\boxed{1 " + "a" * 20_000 + "&}",
    "dots": "." * 20_000 + "a",
    "marks": ".!?" * 6_600 + "\"')" * 100 + "a",
    "hashes": "#" * 20_000,
    "hash_lines": "####\n" * 4_000,
    "answers": "answer: " * 2_500,
    "tags": "<answer>" * 2_500,
    "digits": "1" * 20_000,
    "thousands": "the answer is " + "1,111" * 4_000,
    "fractions": "\\frac{" * 3_300,
    "spaces": "the answer is" + " " * 20_000 + "x",
    "names": "the answer is " + "a=" * 10_000,
    "lines": "\n" * 20_000,
}


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_adversarial_text_of_20_kb_is_read(text: str):
    """Quadratic matching takes many seconds here, exponential matching never ends."""
    match = locate_answer(text)
    assert match is None or match.reasoning_end <= match.start < match.end <= len(text)
    for find in PIECES.values():
        assert_pieces_tile(text, find(text))
