"""The strict check: every way to write a number reads back exactly, and nothing else is a number."""

import importlib
import random
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spancredit as sc
from spancredit.tasks import gsm8k
from spancredit.tasks.numbers import LONGEST, final_number, read_number, reward
from spancredit.text.answers import locate_answer

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "gsm8k"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real GSM8K is not at {DATA}")
HALF, QUARTERS = Fraction(1, 2), Fraction(3, 4)
NBSP, THIN = "\u00a0", "\u2009"

READ = {
    18: ["18", "+18", "18.0", "18.", " 18 ", "18.00.", "018", "１８", "18。", "$18", "\\$18.00", "18$", "18 €", "₹ 18"],
    -18: ["-18", "\u221218", "－１８", "-$18", "$-18", "-\\$18", "$\\$-18$"],
    1234567: ["1234567", "1,234,567", "1{,}234{,}567", "1,\\!234,\\!567", "1\\,234\\,567", f"1{NBSP}234{NBSP}567"],
    1234: [f"1{THIN}234", "１，２３４", "$1,234.00"],
    50: ["50%", "50\\%", "50 %", "50％", "50% of the eggs", "50 percent"],
    5: ["5 eggs", "5 dollars per week.", "5kg", "5 m", "5 km/h", "5 cm^2", "5 cm^{2}", "5 cm²", "5°C", "5 sq. ft."],
    6: [
        "6\\text{ eggs}",
        "6 \\text{ cm}^2",
        "6\\mathrm{~km}",
        f"6{NBSP}eggs",
        "6 o'clock",
        "6 people's hats",
        "6 US dollars",
    ],
    7: [
        "**7**",
        "*7*",
        "__7__",
        "`7`",
        '"7"',
        "**7 eggs.**",
        "**7** eggs",
        "$7$",
        "$$7$$",
        "\\(7\\)",
        "\\[7\\]",
        "{7}",
    ],
    HALF: [".5", "0.5", "1/2", "2/4", "\\frac{1}{2}", "\\dfrac{2}{4}", "$\\tfrac{1}{2}$", "1/2 cup", "1 / 2"],
    -QUARTERS: ["-3/4", "-\\frac{3}{4}", "\\frac{-3}{4}", "-.75"],
    1 + QUARTERS: ["1 3/4", "1\\frac{3}{4}", "1 \\frac{3}{4} \\text{ cups}", "7/4", "1.75"],
    0: ["0", "-0", "0.00"],
}
MARKED = {
    18: [
        *("**#### 18**", "*#### 18*", "__#### $18.__", "**####** 18", "**#### **18**", "**#### 18 ####**"),
        *("#### 18 ####", "#### 18 #", "#### 18 dollars ####\nDone.", "#### 17 #### 18"),
        *("#### $18$ dollars", "#### \\(18\\) dollars", "#### \\(\\$18\\) in all", "#### $$18$$ eggs"),
        *(
            "\\boxed{18^\\circ}",
            "\\boxed{18^{\\circ}}",
            "#### 18\\degree",
            "#### $18^\\circ\\text{C}$",
            "#### 18\\circ F",
        ),
        *(
            "#### 18 T-shirts",
            "#### 18 e-mails",
            "#### 18 dollars (USD)",
            "#### 18 (US dollars)",
            "#### 18¢",
            "#### ¢18",
        ),
        *("#### 18 p.m.", "#### 18 A.M.", "#### 18p.m.", "#### 18PM"),
        *(
            "#### 18 pies",
            "#### 18 square feet",
            "#### 18 bills",
            "#### 18 logs",
            "#### 18 blindfolds",
            "#### 18 seconds",
        ),
    ],
    None: [
        *("#### 5 # 3", "#### 5\n####", "#### ####\n5", "**#### 5 ** 2**", "*#### 5*2*", "#### 5 #### six"),
        *(
            "#### $5$5",
            "#### $5$^2",
            "#### $5$ k",
            "#### $5$$5$",
            "#### \\(5\\)6",
            "#### 5\\circle",
            "#### 5^\\circ 30",
        ),
        *(
            "#### 18 K-bucks",
            "#### 18T-shirts",
            "#### 18 T-",
            "#### 18 dollars (17)",
            "#### 18 (thousand)",
            "#### 18 ()",
        ),
    ],
}
CHANGED = (
    *(
        "3 quarters",
        "18 grand",
        "18 bil",
        "18 bln",
        "18 pi",
        "18 fold",
        "18-fold",
        "18 tenfold",
        "18 double",
        "18 doubled",
    ),
    *("18 triple", "18 twice", "18 negative", "18 sqrt", "18 square root", "18 cube roots", "18 factorial", "5 less"),
    *("5 more", "5 fewer", "5 below", "18 th", "18 thousandths", "18 billionths", "18 thirtieths", "18 sixteenths"),
    *("18 quadrillion", "18 thou", "18 isn't it", "18 basis points", "18 myriad", "18 to the power"),
)
UNREAD = [
    *CHANGED,
    *("", " ", ".", "-", "$", "%", "eggs", "none", "inf", "nan", "two", "x", "****", "\\boxed{5}"),
    *(
        "9^{9^{9}}",
        "2^3",
        "5+13",
        "20 - 2",
        "2*9",
        "2**9",
        "6 \\times 3",
        "\\sqrt{324}",
        "2\\pi",
        "3!",
        "5x",
        "5 x",
        "5xy",
    ),
    *(
        "1e5",
        "1e999999",
        "1E5",
        "0x12",
        "1_000",
        "36/2",
        "\\frac{36}{2}",
        "3/0",
        "0/5",
        "3/4/5",
        "1.5/2",
        "1 5/4",
        "1 -3/4",
    ),
    *(
        "18k",
        "18 K",
        "18K",
        "18M",
        "18 thousand",
        "18 Thousands",
        "18 million",
        "18bn",
        "3 dozen",
        "18th",
        "5m",
        "18 万",
        "18万",
    ),
    *(
        "1,2,3",
        "12,34",
        "1,2345",
        "0,123",
        "1,234,56",
        "1,234 567",
        "1 234",
        f"1,234{NBSP}567",
        ",123",
        "1,",
        "1.234,56",
    ),
    *(
        "18 19",
        "18, 19",
        "18; 19",
        "18 or 19",
        "18 and a half",
        "18 dollars and fifty cents",
        "5 of 6",
        "5 to seven",
        "5:30",
    ),
    *(
        "18..",
        "0.333...",
        "18.5.3",
        "--5",
        "+-5",
        "- 5",
        "-$-5",
        "$5$5",
        "5-",
        "5/",
        "(18)",
        "~18",
        "about 18",
        "x = 18",
    ),
    *("½", "²", "٣", "३", "18元", "18 яиц", "not 18", "18 minus one", "18 squared", "5 'n", "5 ^2", "**18", "18**"),
    "1" * (LONGEST + 1),
    "18" + " eggs" * LONGEST,
]


@pytest.mark.parametrize(("number", "text"), [(number, text) for number, texts in READ.items() for text in texts])
def test_one_number_is_read_as_people_write_it(number, text):
    assert read_number(text) == number
    assert final_number(f"so.\n#### {text}\n") == number


@pytest.mark.parametrize("text", UNREAD)
def test_anything_else_is_no_number(text):
    assert read_number(text) is None
    assert final_number(f"so.\n#### {text}") == (5 if text == "\\boxed{5}" else None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 4\nno.\n#### 5", 5),
        ("#### 5\nThat is all.", 5),
        ("##### 5", 5),
        ("so \\boxed{5}.", 5),
        ("so \\boxed {\\frac{1}{2}}", HALF),
        ("\\boxed{5} that is \\boxed{5.0}", 5),
        ("Put it in \\boxed{}. \\boxed{5}", 5),
        ("\\boxed{4} or rather \\boxed{5}", None),
        ("#### 5\n\\boxed{5}", 5),
        ("#### 5\n\\boxed{4}", None),
        ("\\boxed{4}\n#### 5", None),
        ("#### Step 2: add\n\\boxed{5}", 5),  # a heading
        ("#### \\boxed{5}", 5),
        ("\\boxed{5} and \\boxed{6", None),
        ("\\boxed{5", None),
        ("\\boxed{x}\n#### 5", None),
        ("\\boxed{\\text{5} }", 5),
        ("\\boxed{{5}}", 5),
        ("\\boxed{\\boxed{5}}", None),
        ("\\boxed{9^{9^{9}}}", None),
        ("#### 5\n####", None),
        ("####\n5", None),
        ("The answer is 5", None),
        ("<answer>5</answer>", None),
        ("所以安有五个鸡蛋。\n#### 5", 5),
        ("所以答案是五。\n#### 五", None),
        ("", None),
    ],
)
def test_the_answer_stands_after_the_last_marker_or_in_boxes_that_agree(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(("number", "text"), [(number, text) for number, texts in MARKED.items() for text in texts])
def test_marks_around_the_line_and_the_number_are_no_part_of_it_and_units_change_nothing(number, text):
    assert final_number(f"so.\n{text}") == number


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        *(
            "#### 9",
            "9",
            "\\boxed{",
            "\\boxed{1}",
            "\\boxed{" + "{}" * 40 + "}",
            "{",
            "}",
            "\\",
            "#",
            "#### 5\n",
            "\\boxed ",
            "#### 5 ####**",
            "####*",
        ),
        *("1 ", "* ", "a-", "$", "\\text{", "\\frac{1}{2}", "eggs ", "1,234", "\\boxed{x", "**", "\\boxed{1/"),
    ],
)
def test_a_megabyte_is_judged_at_once(part):
    text = part * (1_000_000 // len(part))
    for whole in (text, "#### " + text, "\\boxed{" + text, "#### 5\n\\boxed{5}" + text):
        started = time.perf_counter()
        final_number(whole)
        assert time.perf_counter() - started < 3, "a tenth of that on a machine with nothing else to do"


def test_distinct_boxes_are_read_only_until_two_differ():
    text = "".join(f"\\boxed{{{i}}}" for i in range(80_000))
    started = time.perf_counter()
    assert final_number(text) is None
    assert time.perf_counter() - started < 1


def written(draw, size: Fraction) -> str:
    """A decimal in any of its spellings."""
    integer, places = divmod(size, 1)
    styles = [str(integer)]
    if integer >= 1000:
        styles += [f"{integer:,}", f"{integer:,}".replace(",", draw(st.sampled_from(["{,}", NBSP, THIN, "\\,"])))]
    text = draw(st.sampled_from(styles))
    if places:
        text += f"{float(places):.3f}"[1:].rstrip("0")
    return text + draw(st.sampled_from([".0", ".00"])) if not places and draw(st.booleans()) else text


@st.composite
def spelled(draw):
    size = Fraction(draw(st.integers(0, 10**9)), draw(st.sampled_from([1, 1, 2, 4, 5, 8])))
    text = written(draw, size)
    sign, money = draw(st.sampled_from(["", "-", "+", "\u2212"])), draw(st.sampled_from(["", "$", "\\$", "€"]))
    text = draw(st.sampled_from([f"{sign}{money}{text}", f"{money}{sign}{text}"])) if money else sign + text
    text += draw(st.sampled_from(["", "%", " dollars", " eggs a day", "\\text{ kg}", " cm^2"]))
    left, right = draw(st.sampled_from([("", ""), ("**", "**"), ("`", "`"), ("\\(", "\\)"), ("", "."), (" ", " ")]))
    number = -size if sign in ("-", "\u2212") else size
    wide = str.maketrans({d: chr(ord(d) + 0xFEE0) for d in "0123456789"}) if draw(st.booleans()) else {}
    return number, (left + text + right).translate(wide)


@given(spelled())
@settings(max_examples=300, deadline=None)
def test_any_decimal_reads_back_from_any_spelling(case):
    number, text = case
    assert read_number(text) == number
    assert reward([f"so #### {text}"], [str(number)]) == [1.0]
    assert reward([f"so #### {text}"], [str(number + 1)]) == [0.0]


@given(st.integers(-(10**6), 10**6), st.integers(2, 10**4), st.integers(0, 500))
@settings(max_examples=200, deadline=None)
def test_fractions_and_mixed_numbers_read_back_exactly(over, under, extra):
    number = Fraction(over, under)
    sign, size = ("-", -number) if number < 0 else ("", number)
    if size.denominator == 1:
        assert read_number(f"{over}/{under}") is None, "a division left undone"
        return
    assert read_number(f"{over}/{under}") == number
    assert read_number(f"{sign}\\frac{{{abs(over)}}}{{{under}}}") == number
    mixed = f"{sign}{extra} {size.numerator}/{size.denominator}"
    expected = extra + size if size < 1 else None
    assert read_number(mixed) == (-expected if sign and expected is not None else expected)


@given(st.text(alphabet="0123456789,.-+$%/ \\{}*kex^#", max_size=14))
@settings(max_examples=500, deadline=None)
def test_whatever_is_read_has_the_digits_of_its_number(text):
    """The oracle: digits in their order, with separators, signs and marks gone."""
    number = read_number(text)
    if number is None or "/" in text or "frac" in text:
        return
    bare = "".join(c for c in text if c in "0123456789.").rstrip(".")
    assert abs(number) == Fraction(bare)


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_mutated_answer_never_earns_the_reward(gold, seed):
    benchmark = _benchmark()
    for name, rewrite in benchmark.WRONG.items():
        if benchmark.is_wrong(name, str(gold)):
            text = rewrite(str(gold), random.Random(seed))
            assert reward([f"so #### {text}"], [str(gold)]) == [0.0], (name, text)
    for name, rewrite in benchmark.SAME.items():
        assert reward([f"so #### {rewrite(str(gold), random.Random(seed))}"], [str(gold)]) == [1.0], name


def test_a_worked_solution_will_do_as_gold_answer_and_what_is_no_number_is_refused():
    assert reward(["#### 5", "#### 1,200"], ["2 + 3 = 5\n#### 5", 1200], other="ignored") == [1.0, 1.0]
    with pytest.raises(sc.SpanCreditError, match="gold answer of completion 1 is 'five'; expected a number"):
        reward(["#### 5", "none"], ["5", "five"])
    with pytest.raises(ValueError, match="zip"):
        reward(["#### 5"], ["5", "6"])


@needs_data
def test_the_span_that_credit_calls_the_answer_holds_the_number_that_is_judged():
    for split in ("train", "held_out"):
        for problem in gsm8k.load(split, str(DATA)):
            match = locate_answer(problem.solution)
            assert match is not None
            assert read_number(problem.solution[match.start : match.end]) == final_number(problem.solution) is not None


@pytest.mark.parametrize(("number", "text"), [(number, text) for number, texts in READ.items() for text in texts])
def test_credit_looks_for_the_answer_where_the_check_reads_it(number, text):
    for completion in (f"so.\n#### {text}", f"so \\boxed{{{text}}}."):
        match = locate_answer(completion)
        assert match is not None
        assert completion[: match.reasoning_end].strip() in ("so.", "so")
        inside = read_number(completion[match.start : match.end])
        assert inside is None or abs(inside) == abs(number)


@needs_data
@pytest.mark.parametrize("seed", [0])
def test_the_benchmark_counts_what_is_scored_right(seed):
    benchmark, problems = _benchmark(), gsm8k.load("held_out", str(DATA))[:60]
    found = benchmark.judge(reward, problems, "as it is", benchmark.SAME["as it is"], seed)
    assert (found["count"], found["right"], found["surprises"]) == (60, 60, [])
    lenient = benchmark.judge(lambda texts, _: [1.0] * len(texts), problems, "a list", benchmark.WRONG["a list"], seed)
    assert (lenient["right"], len(lenient["surprises"])) == (60, 3)
    assert "| wrong: a list | 60 | 60 |" in benchmark.table({"a list": {"strict": lenient}})


def _benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("gsm8k_parser")
