"""Small tokenizers made in memory: the kinds of decoder that language models use, each with an oracle of its bytes.

`token_bytes[name](token)` is what one token adds to the UTF-8 of the decoded text, wherever that text is valid.
"""

from collections.abc import Callable
from functools import cache
from itertools import accumulate, groupby, pairwise

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

REPLACEMENT = "\ufffd"
PAD, EOS, TOOL = "<pad>", "<eos>", "<|tool|>"
SPECIAL = (PAD, EOS, TOOL)
# Whole words, characters cut in the middle, and tokens that begin or end inside a character.
WORDS = [" the", " answer", " is", "The", " \\", "boxed", "####", "12", "ello", "\n\n"]
PARTS = ["😀".encode()[:3], " 你".encode()[:2], "é".encode()[1:] + b"a", "好".encode()[2:] + "吗".encode()[:1]]

CHARACTER_OF_BYTE = bytes_to_unicode()
BYTE_OF_CHARACTER = {character: byte for byte, character in CHARACTER_OF_BYTE.items()}


def _merges(words: list[str]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((word[:i], word[i]) for word in words for i in range(1, len(word))))


@cache
def byte_level() -> PreTrainedTokenizerBase:
    """Like GPT-2, Llama 3 and Qwen: BPE over bytes. `<|tool|>` is special but is no named attribute, as in Llama 3."""
    words = [*(word.encode() for word in WORDS), *PARTS]
    merges = _merges(["".join(CHARACTER_OF_BYTE[byte] for byte in word) for word in words])
    vocabulary = [*BYTE_OF_CHARACTER, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS)


@cache
def sentencepiece_like() -> PreTrainedTokenizerBase:
    """Like Llama 2, Mistral and Gemma: spaces become ▁, unknown characters become byte tokens, no pre-tokenizer."""
    merges = _merges([word.replace(" ", "▁") for word in WORDS])
    letters = ["▁", *map(chr, range(33, 127)), "é", "你", "\u0301"]
    vocabulary = dict.fromkeys(["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters])
    vocabulary |= dict.fromkeys(["\n", *(a + b for a, b in merges)])
    ids = {token: i for i, token in enumerate(vocabulary)}
    merges = [(a, b) for a, b in merges if a in ids and b in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    replace, strip = decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)
    tokenizer.decoder = decoders.Sequence([replace, decoders.ByteFallback(), decoders.Fuse(), strip])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token="<unk>", extra_special_tokens=[TOOL]
    )


class SlowByteTokenizer(PreTrainedTokenizer):
    """A Python tokenizer: one token for each byte, decoded as GPT-2's Python tokenizer does."""

    vocab_size = 256

    def __init__(self, **kwargs: object):
        super().__init__(pad_token=PAD, eos_token=EOS, extra_special_tokens=[TOOL], **kwargs)

    def get_vocab(self) -> dict[str, int]:
        return {CHARACTER_OF_BYTE[byte]: byte for byte in range(256)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **kwargs: object) -> list[str]:
        return [CHARACTER_OF_BYTE[byte] for byte in text.encode()]

    def _convert_token_to_id(self, token: str) -> int | None:
        return BYTE_OF_CHARACTER.get(token)

    def _convert_id_to_token(self, index: int) -> str:
        return CHARACTER_OF_BYTE[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return b"".join(map(_byte_level_bytes, tokens)).decode(errors="replace")


@cache
def slow() -> PreTrainedTokenizerBase:
    return SlowByteTokenizer()


def _byte_level_bytes(token: str) -> bytes:
    return token.encode() if token in SPECIAL else bytes(BYTE_OF_CHARACTER[character] for character in token)


def _sentencepiece_bytes(token: str) -> bytes:
    if token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "byte_level": byte_level,
    "sentencepiece_like": sentencepiece_like,
    "slow": slow,
}
token_bytes = {"byte_level": _byte_level_bytes, "sentencepiece_like": _sentencepiece_bytes, "slow": _byte_level_bytes}


def encode(name: str, text: str) -> list[int]:
    return list(TOKENIZERS[name]().encode(text, add_special_tokens=False))


def decode(name: str, ids: list[int]) -> str:
    return str(TOKENIZERS[name]().decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def character_ranges(name: str, ids: list[int]) -> list[tuple[int, int]]:
    """The oracle: the characters that each token contributes a byte to, from the tokens' bytes alone.

    Bytes that are no UTF-8 decode to U+FFFD: one for each maximal part of a character, or, in a tokenizer with byte
    fallback, one for each byte of a run of byte tokens that is not valid as a whole.
    """
    tokens = TOKENIZERS[name]().convert_ids_to_tokens(ids)
    pieces = [token_bytes[name](token) for token in tokens]
    if name == "sentencepiece_like":
        if pieces and pieces[0].startswith(b" "):
            pieces[0] = pieces[0][1:]  # the decoder strips the space that the normalizer put there
        for is_byte, group in groupby(range(len(ids)), lambda i: tokens[i].startswith("<0x")):
            run = list(group)
            if is_byte and not _is_utf8(b"".join(pieces[i] for i in run)):
                pieces[run[0] : run[-1] + 1] = [REPLACEMENT.encode()] * len(run)
    whole = b"".join(pieces)
    owner = [len(whole[: i + 1].decode(errors="replace")) - 1 for i in range(len(whole))]
    bounds = accumulate(map(len, pieces), initial=0)
    return [(owner[a], owner[b - 1] + 1) if a < b else (0, 0) for a, b in pairwise(bounds)]


def _is_utf8(data: bytes) -> bool:
    return data.decode(errors="ignore").encode() == data
