"""Character offsets <-> token indices. The sampled ids are the truth; nothing is ever re-tokenised."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from os.path import commonprefix

from transformers import PreTrainedTokenizerBase

WINDOW = 16


@dataclass(frozen=True)
class AlignedText:
    """A completion's text and the characters that each token contributes to.

    Args:
        text: All tokens decoded together, special tokens included.
        plain: The text with every character of a special token made a line break, so that no marker or number is
            read across one. As long as `text`.
        starts: First character of each token, non-decreasing.
        ends: One past the last character of each token, non-decreasing. Tokens that share a character overlap there.
    """

    text: str
    plain: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def tokens_of(self, start: int, end: int) -> tuple[int, int]:
        """Range of the tokens that contribute a character to `text[start:end]`."""
        first = bisect_right(self.ends, start)
        return first, max(first, bisect_left(self.starts, end))

    def tile(self, cuts: Sequence[int]) -> list[tuple[int, int]]:
        """Token ranges between neighbouring character `cuts`: disjoint, in order, some of them perhaps empty.

        A token on a cut goes where its first character that is not white space stands.
        """
        anchors = list(accumulate(map(self._anchor, self.starts, self.ends), max))
        bounds = [bisect_left(anchors, cut) for cut in cuts]
        return list(pairwise(bounds))

    def _anchor(self, start: int, end: int) -> int:
        piece = self.text[start:end]
        return end - len(piece.lstrip()) if piece.strip() else start


def align(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> AlignedText:
    """Decode a completion and find the characters of every token, exactly, for any tokenizer that can decode."""

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    text = decode(ids)
    fixed, begun = _fixed_characters(decode, ids, text, WINDOW)
    if begun[-1] or fixed[-1] != len(text):  # this decoder looks further back than a window: decode whole prefixes
        fixed, begun = _fixed_characters(decode, ids, text, len(ids))
    ends = [min(after + more, len(text)) for after, more in zip(fixed[1:], begun[1:], strict=True)]
    special = set(tokenizer.all_special_ids)
    plain = list(text)
    for token, start, end in zip(ids, fixed[:-1], ends, strict=True):
        if token in special:
            plain[start:end] = "\n" * (end - start)
    return AlignedText(text, "".join(plain), tuple(fixed[:-1]), tuple(accumulate(ends, max)))


def _fixed_characters(
    decode: Callable[[Sequence[int]], str], ids: Sequence[int], text: str, window: int
) -> tuple[list[int], list[bool]]:
    """For every prefix `ids[:i]`: how many characters of `text` it settles, and whether it has begun one more.

    Prefixes are decoded from a moving start, between one and two windows back, so the work is linear in the tokens.
    """
    fixed, begun = [0], [False]
    context, start, base = 0, 0, 0  # decode from `context`; tokens before `start` make exactly text[:base]
    known = 0  # length of decode(ids[context:start])
    for i in range(1, len(ids) + 1):
        new = decode(ids[context:i])[known:]
        settled = len(commonprefix([new, text[base : base + len(new)]]))
        fixed.append(max(fixed[-1], base + settled))
        begun.append(settled < len(new))
        if not begun[-1] and i - start >= window:
            context, start, base = start, i, fixed[-1]
            known = len(decode(ids[context:start]))
    return fixed, begun
