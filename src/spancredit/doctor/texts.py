"""What the text of a completion says about its answer: why there is none, and what else is inside one."""

import re
from collections.abc import Collection, Sequence
from os.path import commonprefix

from transformers import PreTrainedTokenizerBase

from spancredit.doctor.facts import CUT_OFF
from spancredit.text.align import AlignedText, said
from spancredit.text.answers import HASHES, TAG, WORDED
from spancredit.types import Span

BOX = re.compile(r"\\boxed\s*\{")
PIECES = 3  # tokens that are shown of either
MARKS = re.compile(r"#{4,}|\\boxed|</?answer>|\banswer\s+is\b", re.IGNORECASE)


def cut_off(ids: Sequence[int], limit: int, ends: Collection[int]) -> bool:
    """Whether the limit on tokens ended a completion: it is as long, and its last token is none that ends one."""
    return len(ids) >= limit and ids[-1] not in ends


def why_missing(plain: str, truncated: bool, pattern: str | None) -> str:
    """Why no answer was found in a completion.

    Args:
        plain: Its text with a line break for each character of a special token.
        pattern: `CreditConfig.answer_pattern`.
    """
    marks = [one for one in (HASHES, BOX, TAG) if one.search(plain)]
    if not plain.strip():
        return "no text"
    if truncated:
        return CUT_OFF
    if pattern is not None:
        return "no match of answer_pattern" if re.search(pattern, plain) is None else "an empty match of answer_pattern"
    if marks:
        return "a marker and nothing behind it"
    return "words for an answer and no number behind them" if WORDED.search(plain) else "no marker"


def answer_text(aligned: AlignedText, answer: Span | None) -> str | None:
    return None if answer is None else aligned.text[slice(*_characters(aligned, answer))]


def foreign(aligned: AlignedText, answer: Span) -> list[str]:
    """Special tokens and markers inside the answer's tokens, which are scored with it."""
    start, end = _characters(aligned, answer)
    text, plain = aligned.text[start:end], aligned.plain[start:end]
    special = "".join(a if a != b else " " for a, b in zip(text, plain, strict=True)).split()
    return [*special, *(match.group() for match in MARKS.finditer(plain))]


def retokenised(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str | None:
    """Where the text of these ids, without special tokens at their end, has other ids; None if it has the same."""
    kept = list(ids[: said(tokenizer, ids)])
    text = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    again = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if again == kept:
        return None
    at = len(commonprefix([kept, again]))
    pieces = (" ".join(repr(tokenizer.decode([one])) for one in some[at : at + PIECES]) for some in (kept, again))
    return "sampled {}, from the text {}".format(*(one or "nothing more" for one in pieces))


def _characters(aligned: AlignedText, span: Span) -> tuple[int, int]:
    return aligned.starts[span.start], aligned.ends[span.end - 1]
