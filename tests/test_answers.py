"""`locate_answer`: the value itself, the last marker that has one, and None where there is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_for_tests import EOS, PAD, TOKENIZERS, TOOL, decode, encode

from spancredit.config import CreditConfig
from spancredit.text.answers import locate_answer
from spancredit.text.locate import locate_reasoning
from spancredit.types import Rollout

FOUND = [
    # (completion, reasoning, answer)
    ("3 + 4 = 7\n#### 7", "3 + 4 = 7\n", "7"),
    ("#### 42", "", "42"),
    ("first #### 4, no.\n#### 5", "first #### 4, no.\n", "5"),
    ("so #### 7\n####", "so ", "7"),
    ("a\n####1,234,567", "a\n", "1,234,567"),
    ("a\n#### $1,234.50 dollars", "a\n", "1,234.50"),
    ("a\n#### \\$5", "a\n", "5"),
    ("a\n#### -5", "a\n", "-5"),
    ("a\n#### \u22125", "a\n", "\u22125"),
    ("a\n#### +3", "a\n", "+3"),
    ("a\n#### -$5", "a\n", "-$5"),
    ("a\n#### 3.14.", "a\n", "3.14"),
    ("a\n#### .5", "a\n", ".5"),
    ("a\n#### 50%", "a\n", "50"),
    ("a\n#### 3/4 cup", "a\n", "3/4"),
    ("a\n#### 42 apples", "a\n", "42"),
    ("a\n#### **42**", "a\n", "42"),
    ("a\n#### x = 42", "a\n", "42"),
    ("a\n#### Paris.", "a\n", "Paris"),
    ("#### Step 1: add\n3 + 4 = 7\n#### 7", "#### Step 1: add\n3 + 4 = 7\n", "7"),
    ("#### Step 1: add\n3 + 4 = 7. The answer is 7", "#### Step 1: add\n3 + 4 = 7. ", "7"),
    ("so \\boxed{42}.", "so ", "42"),
    ("so $\\boxed{\\frac{1}{2}}$", "so $", "\\frac{1}{2}"),
    ("so \\boxed {-\\dfrac{3}{4}}", "so ", "-\\dfrac{3}{4}"),
    ("so \\boxed{\\{1, 2\\}}", "so ", "\\{1, 2\\}"),
    ("so \\boxed{x^{2} + {y}}", "so ", "x^{2} + {y}"),
    ("so \\boxed{12\\%}", "so ", "12"),
    ("so \\boxed{5 \\text{ cm}}", "so ", "5"),
    ("so \\boxed{x = 5}", "so ", "5"),
    ("so \\boxed{2\\pi}", "so ", "2\\pi"),
    ("so \\boxed{3 + 4}", "so ", "3 + 4"),
    ("\\boxed{1} or rather \\boxed{2}", "\\boxed{1} or rather ", "2"),
    ("\\boxed{1} then \\boxed{2", "", "1"),
    ("sum.<answer>42</answer>", "sum.", "42"),
    ("sum.<ANSWER>\n 42 apples\n</ANSWER>", "sum.", "42"),
    ("sum.<answer>42", "sum.", "42"),
    ("Put it in <answer> tags.\n<answer>5</answer>", "Put it in <answer> tags.\n", "5"),
    ("Use <answer></answer>.\n<answer>5</answer>", "Use <answer></answer>.\n", "5"),
    ("So the answer is 42.", "So ", "42"),
    ("The answer is -$5, a loss.", "", "-$5"),
    ("The final answer is: **42**", "", "42"),
    ("**Final Answer**: $42", "**", "42"),
    ("x. Answer: (B)", "x. ", "(B)"),
    ("x. Answer: C.", "x. ", "C"),
    ("x. The answer is \\(42\\).", "x. ", "42"),
    ("x. The answer is\n42", "x. ", "42"),
    ("To find the final answer we add 4 and 5.\nThe answer is 9", "To find the final answer we add 4 and 5.\n", "9"),
    ("The answer is 4? No, the answer is 5.", "The answer is 4? No, ", "5"),
    ("So the answer is not 4; the answer is 5.", "So the answer is not 4; ", "5"),
    ("So \\boxed{18}\n#### Done", "So ", "18"),  # a heading
    ("So \\boxed{18}\n#### Check: 9*2 = 18", "So ", "18"),
    ("So \\boxed{}\n#### Paris", "So \\boxed{}\n", "Paris"),
    ("So it is \\(\\boxed{18}\\) dollars.\n#### 18", "So it is \\(", "18"),  # one answer, given twice
    ("a \\boxed{1,800}, so <answer>$1800.00</answer>", "a ", "1,800"),
    ("\\boxed{18} and \\boxed{9}\nb \\boxed{18}.\n#### 18", "\\boxed{18} and \\boxed{9}\nb ", "18"),
    ("a <answer>\\boxed{18}</answer>", "a ", "18"),
    ("a\n#### $\\boxed{18}$", "a\n", "18"),
    ("a\n#### 50¢", "a\n", "50"),
    ("a\n#### 18 dollars (USD)\nDone.", "a\n", "18"),
    ("a \\boxed{18^\\circ}", "a ", "18"),
    ("#### 5\nThe answer is 6", "", "5"),  # an explicit marker counts before a worded one
]
NOT_FOUND = [
    "",
    "   \n",
    "42",
    "3 + 4 = 7",
    "To find the final answer we add 4 and 5.",
    "The answer is",
    "The answer is yes, as 4 follows",
    "a\n####",
    "a\n#### \n",
    "### 42",
    "so \\boxed{42",
    "so \\boxed{}",
    "so \\boxed",
    "#### Step 1: add\n3 + 4 = 7",
    "<answer></answer>",
    "<answer> </answer>",
    "</answer>42",
]
PATTERNS = [
    (r"= (?P<answer>\d+)!", "1 = 2! 3 = 4! 5 = 6", "1 = 2! 3 ", "4"),
    (r"(?P<other>\w)=(?P<answer>\d+)", "a=1", "", "1"),
    (r"Result: (\d+) (\w+)", "so Result: 12 eggs", "so ", "12"),
    (r"\d+", "1 and 23", "1 and ", "23"),
    (r"\d*", "1 and 23 x", "1 and ", "23"),  # matches of nothing do not count
]


@pytest.mark.parametrize(("text", "reasoning", "answer"), FOUND)
def test_the_answer_is_the_value_itself(text: str, reasoning: str, answer: str):
    match = locate_answer(text)
    assert match is not None
    assert (text[: match.reasoning_end], text[match.start : match.end]) == (reasoning, answer)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_no_answer_is_found(text: str):
    assert locate_answer(text) is None


@pytest.mark.parametrize(("pattern", "text", "reasoning", "answer"), PATTERNS)
def test_own_pattern_replaces_the_markers(pattern: str, text: str, reasoning: str, answer: str):
    match = locate_answer(text, pattern)
    assert match is not None
    assert (text[: match.reasoning_end], text[match.start : match.end]) == (reasoning, answer)


@pytest.mark.parametrize("text", ["#### 5", "\\boxed{5}", "none"])
def test_own_pattern_that_does_not_match_finds_nothing(text: str):
    assert locate_answer(text, r"Result: (\d+)") is None


FRAGMENTS = ["####", "\\boxed{", "\\boxed", "}", "{", "<answer>", "</answer>", "the answer is ", "Answer:", "$", "12"]
FRAGMENTS += ["1,234.5", "-", "\\frac{1}{2}", "\n", " ", "**", "\\text{", "x=", "%", ".", "/", "😀", "好"]
messy_text = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4)), max_size=25).map("".join)


@given(text=messy_text, pattern=st.sampled_from([None, r"\d+", r"(?P<answer>\d*)x?", r"(a)?b?"]))
@settings(max_examples=100, deadline=None)
def test_an_answer_lies_in_the_text_behind_the_reasoning(text: str, pattern: str | None):
    match = locate_answer(text, pattern)
    if match is not None:
        assert 0 <= match.reasoning_end <= match.start < match.end <= len(text)
        assert text[match.start : match.end].strip()


@given(text=messy_text)
@settings(max_examples=100, deadline=None)
def test_text_without_a_marker_has_no_answer(text: str):
    assert locate_answer("7 eggs. " + text.translate(dict.fromkeys(map(ord, "#\\<wW")))) is None


MARKERS = ["#### {}", "####{}", "so \\boxed{{{}}}", "<answer>{}</answer>", "The answer is {}", "Answer: **{}**"]
VALUES = ["12", "-7", "1,234.5", "3/4"]
ENDINGS = ["", EOS, EOS + PAD * 3, TOOL + EOS, "\n" + EOS, f"{TOOL}5{EOS}"]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("marker", MARKERS)
def test_answer_tokens_hold_the_value_and_no_marker_eos_or_pad(name: str, marker: str):
    tokenizer = TOKENIZERS[name]()
    for value in VALUES:
        for ending in ENDINGS:
            ids = encode(name, f"Add 😀 them.\n{marker.format(value)}{ending}")
            spans, answer = locate_reasoning(0, Rollout([1], ids), tokenizer, CreditConfig())
            assert answer is not None
            assert answer.text.strip() == value
            assert tokenizer.decode(ids[answer.start : answer.end]).strip() == value
            assert "".join(span.text for span in spans).startswith("Add 😀 them.")
            assert spans[-1].end <= answer.start


@pytest.mark.parametrize("name", TOKENIZERS)
def test_of_an_answer_given_twice_the_first_counts_since_the_other_copies_it(name: str):
    ids = encode(name, "Add 😀 them. 9 * 2 = 18.\nSo \\boxed{18} eggs, say I.\n#### 18")
    spans, answer = locate_reasoning(0, Rollout([1], ids), TOKENIZERS[name](), CreditConfig())
    assert answer is not None
    assert answer.text.strip() == "18"
    assert decode(name, ids[answer.end :]).endswith("#### 18")
    assert "".join(span.text for span in spans).strip() == "Add 😀 them. 9 * 2 = 18.\nSo"
    assert [span.start for span in spans] == [0, *(span.end for span in spans)][:-1]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", [f"####{EOS}", f"The answer is{EOS}5", f"#### {PAD}7", f"\\boxed{{{EOS}}}"])
def test_no_value_is_read_across_a_special_token(name: str, text: str):
    ids = encode(name, "Add. " + text)
    _, answer = locate_reasoning(0, Rollout([1], ids), TOKENIZERS[name](), CreditConfig())
    assert answer is None
