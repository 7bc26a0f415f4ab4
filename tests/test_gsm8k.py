"""GSM8K: problems from files of its form, how they are asked, and what is said of a file that is not."""

import json
from pathlib import Path

import pytest
from chat_templates import CHATML, with_template

import spancredit as sc
from spancredit.errors import DataError
from spancredit.tasks import gsm8k
from spancredit.tasks.settings import TaskSettings, settings_of
from spancredit.tasks.task import Question, load_task

DATA = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"
LINE = {"question": "Ann has 2 eggs and buys 3. How many? ", "answer": "She has 2+3 = <<2+3=5>>5 eggs.\n#### 5"}
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real GSM8K is not at {DATA}")


def jsonl(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def task(dataset, chat_template=False, **settings):
    tokenizer = with_template(CHATML if chat_template else None)
    return load_task(TaskSettings(task="gsm8k", dataset=dataset, **settings), 0, tokenizer)


def test_a_problem_is_its_question_and_the_solution_that_a_policy_would_write(tmp_path):
    (problem,) = gsm8k.load("train", jsonl(tmp_path / "a.jsonl", LINE, "  "))
    assert problem == gsm8k.Problem(LINE["question"].strip(), " She has 2+3 = 5 eggs.\n#### 5", "5")


@needs_data
def test_every_line_of_the_real_files_is_read_and_earns_the_reward():
    for split, count in (("train", 7473), ("held_out", 1319)):
        problems = gsm8k.load(split, str(DATA))
        assert len(problems) == count
        reward = task(str(DATA)).reward
        assert set(reward([one.solution for one in problems], [one.answer for one in problems])) == {1.0}
        assert not any("<<" in one.solution or ">>" in one.solution for one in problems)


def test_a_plain_prompt_shows_worked_problems_and_stops_at_the_next_question(tmp_path):
    path = jsonl(tmp_path / "train.jsonl", LINE, {"question": "Two?", "answer": "#### 2"})
    made = task(path, few_shot=1, held_out_dataset=path)
    worked = "Question: Ann has 2 eggs and buys 3. How many?\nAnswer: She has 2+3 = 5 eggs.\n#### 5"
    assert made.questions("train") == [Question(f"{worked}\n\nQuestion: Two?\nAnswer:", "2")], (
        "what is shown is not asked"
    )
    assert len(made.questions("held_out")) == 2
    assert made.prompting.stops == ("\nQuestion:",)
    assert made.rows("train") == [
        {
            "prompt": made.questions("train")[0].prompt,
            "question": "Two?",
            "solution": " \n#### 2",
            "answer": "2",
        }
    ]


@pytest.mark.parametrize("name", ["one.jsonl", "one.json", "missing.jsonl"])
def test_one_file_is_one_split_whatever_its_name(tmp_path, name):
    path = jsonl(tmp_path / name, LINE)
    if name.startswith("missing"):
        Path(path).unlink()
    with pytest.raises(sc.ConfigError, match="dataset is one file"):
        task(path).questions("held_out")
    with pytest.raises(sc.ConfigError, match="--dataset one file"):
        settings_of("held_out", path, few_shot=1, task="gsm8k")
    assert settings_of("held_out", path, task="gsm8k").held_out_dataset == path


def test_a_chat_has_a_system_message_the_worked_problems_and_the_instruction(tmp_path):
    path = jsonl(tmp_path / "train.jsonl", LINE, LINE)
    made = task(path, chat_template=True, few_shot=1, system_prompt="Be brief.")
    system, user, assistant, asked = made.questions("train")[0].prompt
    assert (system["role"], system["content"]) == ("system", "Be brief.")
    assert user == asked
    assert user["content"].startswith("Ann has 2 eggs and buys 3. How many?\n")
    assert assistant == {"role": "assistant", "content": "She has 2+3 = 5 eggs.\n#### 5"}
    assert made.prompting.stops == ()


@pytest.mark.parametrize(
    ("template", "style", "chat"),
    [(True, "auto", True), (False, "auto", False), (True, "plain", False), (True, "chat", True)],
)
def test_auto_is_a_chat_where_the_model_has_a_template(tmp_path, template, style, chat):
    path = jsonl(tmp_path / "train.jsonl", LINE)
    assert isinstance(task(path, template, prompt_style=style).questions("train")[0].prompt, list) is chat


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([LINE, "{"], "line 2 is not JSON"),
        ([LINE, "[" * 200_000], "line 2 is not JSON"),
        ([LINE, "7" * 5000], "line 2 is not JSON"),
        ([LINE, "", {"question": "Two?"}], "line 3 has no answer"),
        ([{"answer": "#### 2"}], "line 1 has no question"),
        ([{"question": 2, "answer": "#### 2"}], "line 1 has question 2"),
        ([LINE, {"question": "Two?", "answer": "it is 2"}], "line 2 has an answer that ends 'it is 2'"),
        ([{"question": "Two?", "answer": "#### two"}], "ends '#### two'"),
        (["[1]"], "line 1 has no question"),
        ([], "holds no problem"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_line(tmp_path, rows, said):
    with pytest.raises(DataError) as error:
        gsm8k.load("train", jsonl(tmp_path / "a.jsonl", *rows))
    assert said in str(error.value)
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_hub_that_cannot_be_reached_say_what_would_do(tmp_path, monkeypatch):
    for name in (str(tmp_path / "none.jsonl"), "./none", str(tmp_path)):
        with pytest.raises(DataError, match="does not exist; expected a folder"):
            gsm8k.load("held_out", name)

    def unreachable(*_, **__):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(DataError, match=r"no route to the hub.*a folder with train.jsonl and test.jsonl"):
        gsm8k.load("train")
    with pytest.raises(DataError, match="no route to the hub"):
        gsm8k.load("train", "someone/gsm8k-v1.1")


def test_rows_of_the_hub_are_read_as_those_of_a_file(tmp_path, monkeypatch):
    import datasets

    asked = {}

    def local(name, config, split):
        asked.update(name=name, config=config, split=split)
        return datasets.Dataset.from_list([LINE])

    monkeypatch.setattr("datasets.load_dataset", local)
    assert gsm8k.load("held_out") == gsm8k.load("train", jsonl(tmp_path / "a.jsonl", LINE))
    assert asked == {"name": "openai/gsm8k", "config": "main", "split": "test"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "gsm8"}, "unknown task 'gsm8'"),
        ({"task": "gsm8k", "difficulty": "easy"}, "no setting of the task gsm8k"),
        ({"dataset": "a.jsonl"}, "no setting of the task wordproblems"),
        ({"answer_check": "math_verify"}, "strict check only"),
        ({"few_shot": -1}, "few_shot is -1"),
        ({"prompt_style": "chatty"}, "Did you mean 'chat'"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(settings, said):
    with pytest.raises(sc.ConfigError, match=said):
        TaskSettings(**settings)


def test_what_a_model_or_a_single_file_cannot_give_is_refused(tmp_path):
    path = jsonl(tmp_path / "train.jsonl", LINE)
    with pytest.raises(sc.ConfigError, match="no chat template"):
        task(path, prompt_style="chat")
    with pytest.raises(sc.ConfigError, match="prompts are plain text"):
        task(path, system_prompt="Be brief.")
    with pytest.raises(sc.ConfigError, match="expected held_out_dataset too"):
        task(path).questions("held_out")
