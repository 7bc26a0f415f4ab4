"""Small tokenizers made in memory: the kinds of decoder that language models use, each with an oracle of its bytes.

`token_bytes(name, token)` is what one token adds to the UTF-8 of the decoded text, wherever that text is valid.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import accumulate, groupby, pairwise

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

REPLACEMENT = "\ufffd"
PAD, EOS, TOOL = "<pad>", "<eos>", "<|tool|>"
SPECIAL = (PAD, EOS, TOOL)
THINK, UNTHINK = "<think>", "</think>"  # added to a vocabulary like words, and no special tokens
# Whole words, characters cut in the middle, and tokens that begin or end inside a character.
WORDS = [" the", " answer", " is", "The", " \\", "boxed", "####", "12", "ello", "\n\n"]
PARTS = ["😀".encode()[:3], " 你".encode()[:2], "é".encode()[1:] + b"a", "好".encode()[2:] + "吗".encode()[:1]]

CHARACTER_OF_BYTE = bytes_to_unicode()
BYTE_OF_CHARACTER = {character: byte for byte, character in CHARACTER_OF_BYTE.items()}


def _merges(words: list[str]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((word[:i], word[i]) for word in words for i in range(1, len(word))))


# What numbers are cut into sets the two apart: single digits, or up to three.
CONTRACTIONS, REST = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
)
SPLITS = {"qwen2": rf"{CONTRACTIONS}|\p{{N}}|{REST}", "llama3": rf"{CONTRACTIONS}|\p{{N}}{{1,3}}|{REST}"}


def byte_level(split: str | None = None) -> PreTrainedTokenizerBase:
    """BPE over bytes, words split as in GPT-2 or by a pattern.

    `<|tool|>` is special but is no named attribute, as in Llama 3.
    """
    words = [*(word.encode() for word in WORDS), *PARTS]
    merges = _merges(["".join(CHARACTER_OF_BYTE[byte] for byte in word) for word in words])
    vocabulary = [*BYTE_OF_CHARACTER, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split is not None:
        words = pre_tokenizers.Split(Regex(split), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in (THINK, UNTHINK)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS)


def sentencepiece_bpe(prefix: bool) -> PreTrainedTokenizerBase:
    """Like Llama 2 and Mistral, with a prefix space, or Gemma, without: spaces become ▁, unknown characters bytes."""
    merges = _merges([word.replace(" ", "▁") for word in WORDS])
    letters = ["▁", *map(chr, range(33, 127)), "é", "你", "\u0301"]
    vocabulary = dict.fromkeys(["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters])
    vocabulary |= dict.fromkeys(["\n", *(a + b for a, b in merges)])
    ids = {token: i for i, token in enumerate(vocabulary)}
    merges = [(a, b) for a, b in merges if a in ids and b in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace, prepend, strip = normalizers.Replace(" ", "▁"), normalizers.Prepend("▁"), decoders.Strip(" ", 1, 0)
    tokenizer.normalizer = normalizers.Sequence([prepend, replace] if prefix else [replace])
    decoding = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*decoding, *([strip] if prefix else [])])
    return _with_added(tokenizer)


def unigram(byte_fallback: bool) -> PreTrainedTokenizerBase:
    """Like T5 or, with byte fallback, XGLM's kin: pieces with scores, a prefix space that the decoder takes away."""
    letters = ["▁", "\n", REPLACEMENT, *map(chr, range(33, 127)), *"é你−😀", "\u0301"]
    pieces = dict.fromkeys(word.replace(" ", "▁") for word in WORDS if len(word) > 1 and "\n" not in word)
    in_bytes = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    scores = [("<unk>", 0.0), *((one, -9.0) for one in (*in_bytes, *letters)), *((one, -4.0) for one in pieces)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=byte_fallback))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    if byte_fallback:
        replace, strip = decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)
        tokenizer.decoder = decoders.Sequence([replace, decoders.ByteFallback(), decoders.Fuse(), strip])
    return _with_added(tokenizer)


def _with_added(tokenizer: Tokenizer) -> PreTrainedTokenizerBase:
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in (THINK, UNTHINK)])
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


def _byte_level_bytes(token: str) -> bytes:
    return (
        token.encode()
        if token in (*SPECIAL, THINK, UNTHINK)
        else bytes(BYTE_OF_CHARACTER[character] for character in token)
    )


def _sentencepiece_bytes(token: str) -> bytes:
    if token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "byte_level": cache(byte_level),
    **{name: cache(partial(byte_level, split)) for name, split in SPLITS.items()},
    "sentencepiece_like": cache(partial(sentencepiece_bpe, prefix=True)),
    "gemma": cache(partial(sentencepiece_bpe, prefix=False)),
    "unigram": cache(partial(unigram, byte_fallback=False)),
    "unigram_bytes": cache(partial(unigram, byte_fallback=True)),
    "slow": cache(SlowByteTokenizer),
}
ALL_BYTES = ("byte_level", "qwen2", "llama3", "slow")  # every token is bytes, whatever they mean
BYTE_FALLBACK = ("sentencepiece_like", "gemma", "unigram_bytes")  # some tokens are bytes, decoded a run at once
STRIPPED = ("sentencepiece_like", "unigram", "unigram_bytes")  # a space before the first word is not in the text


def token_bytes(name: str, token: str) -> bytes:
    return _byte_level_bytes(token) if name in ALL_BYTES else _sentencepiece_bytes(token)


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
    pieces = [token_bytes(name, token) for token in tokens]
    if name in STRIPPED and pieces and pieces[0].startswith(b" "):
        pieces[0] = pieces[0][1:]
    if name in BYTE_FALLBACK:
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
