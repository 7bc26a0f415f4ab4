"""`align`: which characters of the text each sampled token contributes to, against an oracle made of token bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_for_tests import (
    ALL_BYTES,
    BYTE_FALLBACK,
    EOS,
    PAD,
    REPLACEMENT,
    SPECIAL,
    THINK,
    TOKENIZERS,
    TOOL,
    UNTHINK,
    character_ranges,
    decode,
    encode,
)

from spancredit.text.align import AlignedText, align

TEXTS = {
    "ascii": "The answer is 12. So 3 + 4 = 7, hello.\n\n#### 12",
    "accents": "héa déjà vu, naïve éa coöperate",
    "combining_marks": "e\u0301 a\u0308\u0323 n\u0303 Z\u0351\u036b\u0343a\u0328lgo",
    "chinese": "你好吗，好吗？我有三个苹果。 你 12 好吗",
    "japanese_korean": "これは7です。 한국어 텍스트",
    "emoji": "😀😁 the 😀answer🚀",
    "zwj_family": "👨\u200d👩\u200d👧\u200d👦 and 🏳️\u200d🌈 and 👍🏽",
    "flags": "🇩🇪🇫🇷🇯🇵 12 🇺🇳",
    "right_to_left": "الجواب هو 42. התשובה היא 42.",
    "real_replacement": f"a{REPLACEMENT}b {REPLACEMENT} 12 {REPLACEMENT}😀{REPLACEMENT}\n",
    "special_inside": f"The sum{TOOL}é😀{EOS}好吗{TOOL}{TOOL} is 12{EOS}{PAD}{PAD}",
    "thinking": f"{THINK}3 + 4 = 7, é{UNTHINK}\n\n#### 7{EOS}",
    "white_space": "  a   b\t\n\n\n c\u00a0d\u3000e  ",
}
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def aligned_ranges(name: str, ids: list[int]) -> tuple[AlignedText, list[tuple[int, int]]]:
    aligned = align(TOKENIZERS[name](), ids)
    return aligned, list(zip(aligned.starts, aligned.ends, strict=True))


def assert_sound(name: str, ids: list[int], aligned: AlignedText) -> None:
    size = len(aligned.text)
    assert aligned.text == decode(name, ids)
    assert len(aligned.plain) == size
    assert len(aligned.starts) == len(aligned.ends) == len(ids)
    assert list(aligned.starts) == sorted(aligned.starts)
    assert list(aligned.ends) == sorted(aligned.ends)
    assert all(0 <= start <= end <= size for start, end in zip(aligned.starts, aligned.ends, strict=True))
    covered = {i for start, end in zip(aligned.starts, aligned.ends, strict=True) for i in range(start, end)}
    assert covered == set(range(size))


@every_tokenizer
@every_text
def test_each_token_has_exactly_the_characters_it_contributes_to(name: str, text: str):
    ids = encode(name, text * 4)  # longer than the decoding windows
    aligned, ranges = aligned_ranges(name, ids)
    assert_sound(name, ids, aligned)
    assert ranges == character_ranges(name, ids)


@every_tokenizer
@every_text
def test_a_completion_cut_at_any_token_is_aligned(name: str, text: str):
    ids = encode(name, text)
    for i in range(len(ids) + 1):
        aligned, ranges = aligned_ranges(name, ids[:i])
        assert_sound(name, ids[:i], aligned)
        exact = i
        if name in BYTE_FALLBACK:  # a cut inside a run of byte tokens turns all of the run into U+FFFD
            tokens = TOKENIZERS[name]().convert_ids_to_tokens(ids[:i])
            exact = next((k for k in range(i, 0, -1) if not tokens[k - 1].startswith("<0x")), 0)
        assert ranges[:exact] == character_ranges(name, ids[:i])[:exact]


@pytest.mark.parametrize("name", ALL_BYTES)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_arbitrary_ids_are_exact_where_tokens_are_bytes(name: str, data: st.DataObject):
    ids = data.draw(st.lists(st.integers(0, len(TOKENIZERS[name]()) - 1), max_size=60))
    aligned, ranges = aligned_ranges(name, ids)
    assert_sound(name, ids, aligned)
    assert ranges == character_ranges(name, ids)


@pytest.mark.parametrize("name", ["unigram", *BYTE_FALLBACK])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_arbitrary_ids_are_covered_where_bytes_are_a_fallback(name: str, data: st.DataObject):
    byte, any_id = st.integers(1, 256), st.integers(0, len(TOKENIZERS[name]()) - 1)
    ids = data.draw(st.lists(st.one_of(byte, any_id) if name in BYTE_FALLBACK else any_id, max_size=80))
    assert_sound(name, ids, align(TOKENIZERS[name](), ids))


@every_tokenizer
# Two real U+FFFD in a row, split into bytes at a decoding window's border, cannot be told apart under byte fallback.
@given(text=st.text(max_size=40).filter(lambda text: 2 * REPLACEMENT not in text))
@settings(max_examples=100, deadline=None)
def test_arbitrary_text_is_exact(name: str, text: str):
    ids = encode(name, text)
    aligned, ranges = aligned_ranges(name, ids)
    assert_sound(name, ids, aligned)
    assert ranges == character_ranges(name, ids)


@every_tokenizer
def test_neighbouring_real_replacement_characters_are_told_apart(name: str):
    ids = encode(name, f"a {REPLACEMENT}{REPLACEMENT} b")
    aligned, ranges = aligned_ranges(name, ids)
    assert aligned.text == f"a {REPLACEMENT}{REPLACEMENT} b"
    assert ranges == character_ranges(name, ids)


def test_a_decoder_that_looks_further_back_than_a_window():
    bad = TOKENIZERS["sentencepiece_like"]().convert_tokens_to_ids(["<0xFF>"] * 40)
    ids = [*bad, *encode("sentencepiece_like", "吗" * 30)[1:], *encode("sentencepiece_like", "é")]
    aligned, ranges = aligned_ranges("sentencepiece_like", ids)
    assert aligned.text == REPLACEMENT * 130 + " é"  # the first bad byte spoils the whole run of byte tokens
    assert_sound("sentencepiece_like", ids, aligned)
    assert ranges == character_ranges("sentencepiece_like", ids)


@every_tokenizer
@pytest.mark.parametrize("token", SPECIAL)
def test_special_tokens_are_line_breaks_in_plain(name: str, token: str):
    text = f"#### 1{token}2 é{token}"
    aligned = align(TOKENIZERS[name](), encode(name, text))
    assert token in aligned.text
    assert aligned.plain == aligned.text.replace(token, "\n" * len(token))


@every_tokenizer
def test_no_token_has_no_text(name: str):
    assert align(TOKENIZERS[name](), []) == AlignedText("", "", (), ())


@every_tokenizer
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_tokens_of_spans_every_token_of_the_characters_and_no_other(name: str, data: st.DataObject):
    text = data.draw(st.sampled_from(list(TEXTS.values())))
    ids = encode(name, text)
    aligned = align(TOKENIZERS[name](), ids)
    start = data.draw(st.integers(0, len(aligned.text) - 1))
    end = data.draw(st.integers(start + 1, len(aligned.text)))
    touching = [i for i, (first, last) in enumerate(character_ranges(name, ids)) if first < end and last > start]
    assert aligned.tokens_of(start, end) == (touching[0], touching[-1] + 1)


@every_tokenizer
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_tile_is_disjoint_in_order_and_loses_no_token(name: str, data: st.DataObject):
    ids = encode(name, data.draw(st.text(min_size=1, max_size=40)))
    aligned = align(TOKENIZERS[name](), ids)
    size = len(aligned.text)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=8)))
    tiles = aligned.tile([0, *cuts, size + 1])
    assert len(tiles) == len(cuts) + 1
    assert [i for start, end in tiles for i in range(start, end)] == list(range(len(ids)))


@pytest.mark.parametrize(
    ("tokens", "cut", "left"),
    [
        ([" the", " answer"], 4, 1),
        ([" the", " answer"], 5, 1),  # the cut behind the space: the token goes where its word stands
        ([" the", " answer"], 6, 2),  # the cut inside a word: where the word begins
        (["The", "\n\n", " the"], 5, 2),
        (["The", "\n\n", " the"], 3, 1),
    ],
)
def test_a_token_on_a_cut_goes_where_its_first_visible_character_stands(tokens: list[str], cut: int, left: int):
    ids = [i for token in tokens for i in encode("byte_level", token)]
    assert len(ids) == len(tokens)
    aligned = align(TOKENIZERS["byte_level"](), ids)
    assert aligned.tile([0, cut, len(aligned.text)]) == [(0, left), (left, len(ids))]
