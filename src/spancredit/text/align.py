"""Character offsets <-> token indices. The sampled ids are the truth; nothing is ever re-tokenised."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from os.path import commonprefix

from transformers import PreTrainedTokenizerBase

WINDOW = 16
REPLACEMENT = "\ufffd"


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
    fixed, reach = _prefix_lengths(decode, ids, text, WINDOW)
    if reach[-1] != len(text):  # this decoder looks further back than a window: decode whole prefixes
        fixed, reach = _prefix_lengths(decode, ids, text, len(ids))
    reach = list(accumulate(reversed(reach), min))[::-1]  # what a longer prefix no longer has was never there
    fixed = list(map(min, fixed, reach))
    starts, ends = fixed[:-1], [min(settled + 1, most) for settled, most in zip(fixed[1:], reach[1:], strict=True)]
    special, plain = _special_ids(tokenizer), list(text)
    for i, (token, start, end) in enumerate(zip(ids, starts, ends, strict=True)):
        if token in special:
            plain[start:end] = "\n" * (end - start)
        elif reach[i] == start and text[start - 1 : start] == REPLACEMENT:  # perhaps more bytes of a real U+FFFD
            alone = decode([token])
            starts[i] -= alone.startswith(REPLACEMENT) and len(alone) > end - start
    return AlignedText(text, "".join(plain), tuple(starts), tuple(ends))


def said(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    """How many tokens are left without the special ones at the end."""
    special, size = _special_ids(tokenizer), len(ids)
    while size and ids[size - 1] in special:
        size -= 1
    return size


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of all special tokens, also of those that no attribute of the tokenizer names (Llama 3's `<|eom_id|>`)."""
    try:
        added = tokenizer.added_tokens_decoder
    except NotImplementedError:
        added = {}
    return {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}


def _prefix_lengths(
    decode: Callable[[Sequence[int]], str], ids: Sequence[int], text: str, window: int
) -> tuple[list[int], list[int]]:
    """For every prefix `ids[:i]`: how many characters of `text` it settles, and how many it has.

    The second is past the end of `text` where the prefix decodes to something that `text` does not begin with.
    Prefixes are decoded from a moving start, between one and two windows back, so the work is linear in the tokens.
    """
    fixed, reach = [0], [0]
    context, start, base = 0, 0, 0  # decode from `context`; tokens before `start` make exactly text[:base]
    known = 0  # length of decode(ids[context:start])
    for i in range(1, len(ids) + 1):
        new = decode(ids[context:i])[known:]
        settled = len(commonprefix([new, text[base : base + len(new)]]))
        fixed.append(max(fixed[-1], base + settled))
        reach.append(base + len(new) if settled == len(new) else len(text) + 1)
        if settled == len(new) and i - start >= window:
            context, start, base = start, i, fixed[-1]
            known = len(decode(ids[context:start]))
    return fixed, reach
