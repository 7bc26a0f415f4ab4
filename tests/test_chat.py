"""Chats: what a template makes of a prompt, and that evaluation and training give the model the same tokens."""

import json

import pytest
from chat_templates import ALTERNATES, CHATML, DEAF, HEADERS, INST, REFUSES, TURNS, with_template
from datasets import Dataset
from toy_models import tiny
from trl import GRPOConfig, GRPOTrainer

import spancredit as sc
from spancredit.evaluation import generate
from spancredit.tasks import numbers, wordproblems
from spancredit.tasks.chat import render, said, takes_system
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import load_task

TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "turns": TURNS, "inst": INST, "deaf": DEAF}
TAKES_SYSTEM = {"chatml", "headers"}
LINE = {"question": "Ann has 2 eggs and buys 3. How many?", "answer": "2+3 = 5\n#### 5"}
ASKED = "Ann has 2 eggs and buys 3. How many?\nReason step by step, and end with one line: #### and the number."


@pytest.fixture
def data(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(2 * (json.dumps(LINE) + "\n"))
    return str(tmp_path)


def task(data, tokenizer, **settings):
    return load_task(TaskSettings(task="gsm8k", dataset=data, **settings), 0, tokenizer)


def test_a_prompt_ends_where_the_assistant_begins():
    chat = [{"role": "user", "content": "Hi."}]
    assert render(with_template(CHATML), chat).endswith("Hi.<|im_end|>\n<|im_start|>assistant\n")
    assert render(with_template(TURNS), chat) == "<bos><turn>user\nHi.</turn>\n<turn>model\n"
    assert render(with_template(None), "as it is") == "as it is"


@pytest.mark.parametrize("name", TEMPLATES)
def test_whether_a_template_takes_a_system_message_is_found_out(name):
    assert takes_system(with_template(TEMPLATES[name])) == (name in TAKES_SYSTEM)


@pytest.mark.parametrize("few_shot", [0, 1])
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.filterwarnings("ignore:spancredit. the model's chat template takes no system")
def test_every_template_shows_the_system_message_once_and_first(name, few_shot, data):
    tokenizer = with_template(TEMPLATES[name])
    made = task(data, tokenizer, system_prompt="Be brief.", few_shot=few_shot)
    text = render(tokenizer, made.questions("held_out")[0].prompt)
    assert text.count("Be brief.") == 1
    assert text.index("Be brief.") < text.index("Ann has")
    assert text.count(ASKED) == 1 + few_shot
    roles = [message["role"] for message in made.questions("held_out")[0].prompt]
    assert roles == ["system"] * (name in TAKES_SYSTEM) + ["user", "assistant"] * few_shot + ["user"]


@pytest.mark.parametrize(("name", "warnings"), [("chatml", 0), ("turns", 1), ("deaf", 1)])
def test_a_system_message_that_moves_is_said_once(name, warnings, data, recwarn):
    made = task(data, with_template(TEMPLATES[name]), system_prompt="Be brief.")
    made.questions("train")
    made.questions("held_out")
    said_so = [str(one.message) for one in recwarn if "takes no system message" in str(one.message)]
    assert len(said_so) == warnings
    assert all(message.endswith("; it stands at the head of the first user message.") for message in said_so)


def test_without_a_system_message_nothing_is_said(data, recwarn):
    question, _ = task(data, with_template(TURNS)).questions("train")
    assert question.prompt == [{"role": "user", "content": ASKED}]
    assert not [one for one in recwarn if "spancredit" in str(one.message)]


def test_a_template_that_refuses_even_a_question_is_one_sentence(data):
    with pytest.raises(
        sc.ModelError, match=r"refuses the messages of a prompt \(no tools, no chat\); it was given user"
    ):
        task(data, with_template(REFUSES))
    alternating = with_template(ALTERNATES + "{% endfor %}")
    with pytest.raises(sc.ModelError, match=r"must alternate.*given user, user; expected prompt_style 'plain'"):
        render(alternating, [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])


def test_without_a_template_a_chat_is_refused_and_auto_is_plain(data):
    bare = with_template(None)
    with pytest.raises(sc.ModelError, match=r"no chat template; expected one, or prompt_style 'plain'"):
        render(bare, [{"role": "user", "content": "Hi."}])
    with pytest.raises(sc.ConfigError, match="no chat template; expected 'plain'"):
        task(data, bare, prompt_style="chat")
    assert isinstance(task(data, bare).questions("train")[0].prompt, str)


@pytest.mark.parametrize("name", ["chatml", "turns"])
@pytest.mark.filterwarnings("ignore:spancredit. the model's chat template takes no system")
def test_training_reads_the_very_tokens_that_evaluation_does(name, data, tmp_path, monkeypatch):
    tokenizer = with_template(TEMPLATES[name])
    model = tiny("llama")
    made = task(data, tokenizer, system_prompt="Be brief.", few_shot=1)
    cpu = {"use_cpu": True, "bf16": False}
    trainer = GRPOTrainer(
        model,
        made.reward,
        GRPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=2, num_generations=2, **cpu),
        train_dataset=Dataset.from_list(made.rows("train") * 2),
        processing_class=tokenizer,
    )
    trained, *_ = trainer._tokenize_prompts([row["prompt"] for row in made.rows("train")])
    read = []
    monkeypatch.setattr(model, "generate", lambda input_ids, **_: read.append(input_ids) or input_ids)
    generate.complete(model, tokenizer, [made.questions("train")[0].prompt], 4)
    assert read[0].tolist() == trained


def test_the_text_of_a_completion_is_its_last_message():
    user = {"role": "user", "content": "#### 4"}
    assert said("#### 5") == said([user, {"role": "assistant", "content": "#### 5"}]) == "#### 5"
    assert said([{"role": "assistant", "content": None}]) == ""
    for check in (numbers, wordproblems):
        assert check.reward([[{"role": "assistant", "content": "so #### 5"}], "#### 6"], ["5", "5"]) == [1.0, 0.0]
