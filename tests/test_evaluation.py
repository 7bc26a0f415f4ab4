"""`spancredit eval` and `spancredit compare`: what they count, what they write, and how they go on."""

import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from input_for_tests import assert_one_sentence
from scipy.stats import binomtest, ttest_1samp
from transformers import GenerationConfig
from typer.testing import CliRunner

import spancredit as sc
from spancredit.cli import app
from spancredit.commands.checked import parse_checked
from spancredit.commands.evaluate import _named
from spancredit.commands.train import _sampling
from spancredit.evaluation import folder as folder_module
from spancredit.evaluation.accuracy import Exam, greedy_accuracy, sampled_accuracy
from spancredit.evaluation.folder import EvalFolder, checksum, fingerprint
from spancredit.evaluation.generate import GREEDY, complete
from spancredit.evaluation.result import majority, paired, share, summarise
from spancredit.report.lines import read_lines
from spancredit.report.lock import locked
from spancredit.sandbox import Call
from spancredit.tasks.code import CodeProblem
from spancredit.tasks.gsm8k import Problem
from spancredit.tasks.wordproblems import problems

LINE = {"question": "Ann has 2 eggs and buys 3. How many?", "answer": "2+3 = <<2+3=5>>5\n#### 5"}
SMALL = ["--difficulty", "easy", "--problems", "12", "--max_new_tokens", "48", "--batch_size", "4", "--samples", "2"]


def command(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def row(greedy=True, samples=()):
    """Samples are pairs of an answer and whether it is right."""
    return {
        "greedy": {"read": "5", "right": greedy, "truncated": False},
        "samples": [{"read": read, "right": right, "truncated": False} for read, right in samples],
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("evals") / "whole"
    return path, command("eval", *SMALL, "--output_dir", path, "--json")


@pytest.mark.slow
def test_every_problem_is_written_with_its_completions_and_the_result_is_their_sum(whole):
    path, result = whole
    rows = list(read_lines(path / "problems.jsonl", "problem"))
    assert [one["problem"] for one in rows] == [*range(12)]
    for one in rows:
        assert len(one["samples"]) == 2
        for answer in (one["greedy"], *one["samples"]):
            assert answer["right"] == (answer["read"] == one["answer"])
            assert (answer["read"] or "") == answer["text"].partition("####")[2].strip()
    said = json.loads(result.stdout)
    assert said.pop("folder") == str(path)
    assert said == json.loads((path / "result.json").read_text()) == summarise(rows)
    assert said["greedy"]["mean"] == sum(one["greedy"]["right"] for one in rows) / 12


@pytest.mark.slow
def test_an_evaluation_that_was_killed_ends_as_one_that_was_not(whole, tmp_path):
    path = tmp_path / "cut"
    rows = path / "problems.jsonl"
    ended_at_work(signal.SIGKILL, path, *SMALL)
    done = rows.read_text()
    assert 4 <= done.count("\n") < 12, "it was at work when it was killed"
    rows.write_text(done[: len(done) - 40])  # as if the last write had been cut
    command("eval", *SMALL, "--output_dir", path)
    assert rows.read_text() == (whole[0] / "problems.jsonl").read_text()
    assert (path / "result.json").read_text() == (whole[0] / "result.json").read_text()


PROBLEMS = 72  # so many that a signal after the first of them comes before the last, on a busy machine too


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory):
    """Arguments for a file of problems of GSM8K's form, and the folder of an evaluation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("gsm8k")
    lines = [{"question": one.question, "answer": one.solution} for one in islice(problems("held_out"), PROBLEMS)]
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["--task", "gsm8k", "--dataset", str(folder / "test.jsonl"), "--samples", "1"]
    arguments += ["--batch_size", "2", "--max_new_tokens", "60"]
    command("eval", *arguments, "--output_dir", folder / "whole")
    return arguments, folder / "whole"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_gsm8k_from_a_file_goes_on_after_an_interruption_to_the_same_result(gsm8k, tmp_path, number):
    arguments, whole = gsm8k
    path = tmp_path / "cut"
    status, said = ended_at_work(number, path, *arguments)
    done = (path / "problems.jsonl").read_text()
    assert done
    assert (whole / "problems.jsonl").read_text().startswith(done)
    assert not (path / "result.json").exists(), "it was at work"
    if number == signal.SIGINT:
        assert (status, "interrupted; the same command continues" in said) == (130, True)
        assert "Traceback" not in said
    command("eval", *arguments, "--output_dir", path)
    for name in ("problems.jsonl", "result.json"):
        assert (path / name).read_text() == (whole / name).read_text()
    assert json.loads((whole / "result.json").read_text())["problems"] == PROBLEMS


def ended_at_work(number, path, *arguments):
    """The real command, ended by a signal once its first rows are written: its exit status, and what it said."""
    called = [sys.executable, "-m", "spancredit", "eval", *arguments, "--output_dir", str(path)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which the jobs that a shell left behind do not hear
    process = subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heard)
    rows = path / "problems.jsonl"
    until = time.monotonic() + 120
    while not (rows.exists() and rows.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.slow
def test_a_model_that_was_trained_on_under_its_name_is_evaluated_anew(policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, tokenizer = policy
    tokenizer.save_pretrained("mine")
    model.save_pretrained("mine")
    few = ["--model", "./mine", "--problems", "2", "--max_new_tokens", "2"]
    command("eval", *few)
    assert "2 of 2 problems were answered before" in command("eval", *few).stdout
    other = deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1e-3
    other.save_pretrained("mine")
    assert "answered before" not in command("eval", *few).stdout
    assert sorted(path.name for path in Path("evals").iterdir()) == ["wordproblems-mine", "wordproblems-mine-2"]


def test_what_a_checkpoint_presets_for_generation_is_left_out_and_left_alone(policy):
    model, tokenizer = policy
    prompts = [one.prompt for one in islice(problems("held_out", 0, "medium"), 4)]
    preset = deepcopy(model)
    preset.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id, repetition_penalty=1.8, no_repeat_ngram_size=2
    )
    before = preset.generation_config.to_dict()
    assert complete(preset, tokenizer, prompts, 60, **GREEDY) == complete(model, tokenizer, prompts, 60, **GREEDY)
    assert preset.generation_config.to_dict() == before
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(preset, peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert complete(adapted, tokenizer, prompts, 24, **GREEDY) == complete(model, tokenizer, prompts, 24, **GREEDY)
    assert preset.generation_config.to_dict() == before, "an adapter gives its own to the model below it"


def test_other_worked_examples_under_the_same_name_are_another_evaluation(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "test.jsonl").write_text(json.dumps(LINE) + "\n")
    (data / "train.jsonl").write_text(json.dumps({"question": "One?", "answer": "#### 1"}) + "\n")
    few = ["--task", "gsm8k", "--dataset", data, "--few_shot", "1", "--max_new_tokens", "2"]
    command("eval", *few, "--output_dir", tmp_path / "one")
    (data / "train.jsonl").write_text(json.dumps({"question": "Two?", "answer": "#### 2"}) + "\n")
    with pytest.raises(sc.SpanCreditError, match="holds an evaluation with prompts"):
        command("eval", *few, "--output_dir", tmp_path / "one")


def test_rows_of_two_evaluations_in_one_folder_are_refused(tmp_path):
    folder = EvalFolder(tmp_path)
    row = {"greedy": {"right": True, "truncated": False, "read": "1"}, "samples": []}
    folder.add([{"problem": 0, **row}, {"problem": 1, **row}])
    assert len(folder.rows()) == 2
    folder.add([{"problem": 1, **row}])
    with pytest.raises(sc.SpanCreditError, match="line 3 is of problem 1; expected 2"):
        folder.rows()


def test_a_run_gives_its_name_to_what_it_trained(tmp_path, monkeypatch):
    assert [_named(name) for name in ("bundled", "./my-model", "owner/model")] == ["bundled", "my-model", "model"]
    (tmp_path / "one" / "model").mkdir(parents=True)
    (tmp_path / "one" / "run.json").write_text("{}")
    assert _named(str(tmp_path / "one" / "model")) == "one"
    monkeypatch.chdir(tmp_path / "one")
    assert _named("model") == "one"


def test_the_default_folder_is_the_first_that_holds_nothing_or_this_evaluation(tmp_path):
    asked = {"checksum": 1}
    (tmp_path / "a").mkdir()
    assert EvalFolder.free(tmp_path / "a", asked) == tmp_path / "a"
    (tmp_path / "a" / "notes.txt").write_text("mine")
    EvalFolder.create(tmp_path / "a-2", {"checksum": 2})
    (tmp_path / "a-3").mkdir()
    (tmp_path / "a-3" / "eval.json").write_text("{")
    (tmp_path / "a-4").write_text("a file")
    assert EvalFolder.free(tmp_path / "a", asked) == tmp_path / "a-5"
    EvalFolder.create(tmp_path / "a-5", asked)
    EvalFolder(tmp_path / "a-5").add([{"problem": 0}])
    assert EvalFolder.free(tmp_path / "a", asked) == tmp_path / "a-5"


def test_an_evaluation_that_finds_another_at_work_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "one"
    arguments = ["--difficulty", "easy", "--problems", "1", "--max_new_tokens", "4", "--output_dir", path]
    with locked(path, "evaluation"), pytest.raises(sc.RunFolderError, match="another process works on the evaluation"):
        command("eval", *arguments)
    assert [one.name for one in path.iterdir()] == [".lock"]
    assert EvalFolder.free(path, {}) == path, "a lock that was left is in nobody's way"
    assert command("eval", *arguments).exit_code == 0


def test_an_evaluation_that_began_and_ended_in_the_meantime_is_not_written_over(tmp_path, monkeypatch):
    @contextmanager
    def later(path, what):
        EvalFolder.create(path, {"seed": 1})
        with locked(path, what):
            yield

    monkeypatch.setattr(folder_module, "locked", later)
    with (
        pytest.raises(sc.RunFolderError, match="with seed 1, not 2"),
        EvalFolder.at_work(tmp_path / "one", {"seed": 2}),
    ):
        pass
    assert EvalFolder(tmp_path / "one").facts()["settings"] == {"seed": 1}
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(sc.RunFolderError, match="holds no evaluation"), EvalFolder.at_work(tmp_path, {"seed": 2}):
        pass
    assert not (tmp_path / ".lock").exists(), "nothing is put where something else is"


def test_a_folder_that_is_named_is_the_only_one_looked_at(tmp_path, monkeypatch):
    def free(*_):
        raise AssertionError("looked for a default")

    monkeypatch.setattr(EvalFolder, "free", free)
    arguments = ["--difficulty", "easy", "--problems", "1", "--max_new_tokens", "4"]
    assert command("eval", *arguments, "--output_dir", tmp_path / "one").exit_code == 0


def test_held_out_problems_are_sampled_with_what_training_hands_to_generate(policy):
    model, tokenizer = policy
    own = {"top_p": 0.5, "max_new_tokens": 3, "pad_token_id": tokenizer.pad_token_id}
    flags = ["--held_out_sampled", "true", "--generation_kwargs", json.dumps(own)]
    _, arguments, _ = parse_checked(None, flags)
    sampling = _sampling(arguments)
    assert (sampling["top_p"], sampling["temperature"]) == (0.5, 1.0)
    seen = []

    def reward(completions, **_):
        seen.extend(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in completions)
        return [1.0] * len(completions)

    exam = Exam(list(islice(problems("held_out"), 2)), reward, 40)
    assert sampled_accuracy(model, tokenizer, exam, **sampling).right == 2
    assert max(seen) <= 3
    assert greedy_accuracy(model, tokenizer, exam).count == 2
    assert max(seen) > 3, "greedy decoding is not sampling's"
    with pytest.raises(sc.ConfigError, match="generation_kwargs are vLLM's"):
        parse_checked(None, [*flags, "--use_vllm", "true"])


def test_a_fingerprint_knows_what_the_weights_are_and_where(policy):
    model, _ = policy
    other = deepcopy(model)
    assert fingerprint(other) == fingerprint(model)
    weight = other.lm_head.weight
    with torch.no_grad():
        weight.copy_(weight.flip(0))
    assert fingerprint(other) != fingerprint(model)


def test_another_evaluation_is_not_mixed_into_a_folder(whole, tmp_path):
    path, _ = whole
    with pytest.raises(sc.RunFolderError, match=r"with temperature 0\.7, not 1"):
        command("eval", *SMALL, "--temperature", "1", "--output_dir", path)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(sc.RunFolderError, match="holds no evaluation"):
        command("eval", *SMALL, "--output_dir", tmp_path)
    before = (path / "problems.jsonl").stat().st_mtime_ns
    command("eval", *SMALL, "--output_dir", path)
    assert (path / "problems.jsonl").stat().st_mtime_ns == before, "what is done is not done again"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"samples": []}, "no greedy; expected a completion"),
        ({"greedy": {"right": True, "truncated": False, "read": "1"}, "samples": 3}, "samples 3; expected a list"),
        ({"greedy": {"right": 1, "truncated": False, "read": "1"}, "samples": []}, "right 1; expected true or false"),
        ({"greedy": {"right": True, "truncated": False}, "samples": []}, "without an answer that was read"),
    ],
)
def test_rows_and_settings_of_another_form_are_one_sentence(whole, tmp_path, row, said):
    path = Path(shutil.copytree(whole[0], tmp_path / "eval"))
    (path / "problems.jsonl").write_text(json.dumps({"problem": 0, **row}) + "\n")
    for argv in (["compare", path, path], ["eval", *SMALL, "--output_dir", path]):
        with pytest.raises(sc.RecordError, match=f"line 1 has .*{said}"):
            command(*argv)
    (path / "eval.json").write_text("{}")
    with pytest.raises(sc.RunFolderError, match="has no settings"):
        command("compare", path, path)


def evaluated(path, rows, **settings):
    """The folder of an evaluation that is done, with these rows, and settings of its own."""
    known = {"checksum": 1, "answer_check": "strict", "problems": len(rows), "samples": len(rows[0]["samples"])}
    folder = EvalFolder.create(path, {name: value for name, value in (known | settings).items() if value != "left out"})
    folder.add([{"problem": number, **one} for number, one in enumerate(rows)])
    folder.finish({})
    return path


@pytest.mark.parametrize(
    ("changes", "by", "said"),
    [
        ({"checksum": "left out"}, "greedy", r"eval\.json has no checksum among its settings"),
        ({"answer_check": "left out"}, "greedy", r"eval\.json has no answer_check among"),
        ({"problems": "left out"}, "greedy", r"eval\.json has no problems among"),
        ({"problems": 3}, "greedy", r"problems\.jsonl has 2 problems; expected 3"),
        ({"problems": 0}, "greedy", r"problems\.jsonl has 2 problems; expected 0"),
        ({"samples": 2}, "sampled", r"problems\.jsonl line 1 has 1 samples; expected 2"),
    ],
)
def test_a_damaged_evaluation_is_not_compared(tmp_path, changes, by, said):
    rows = [row(samples=[("5", True)]), row(samples=[("4", False)])]
    good = evaluated(tmp_path / "good", rows)
    bad = evaluated(tmp_path / "bad", rows, **changes)
    assert command("compare", good, good, "--by", by).exit_code == 0
    for pair in ((good, bad), (bad, good), (bad, bad)):
        with pytest.raises(sc.RunFolderError, match=said) as error:
            command("compare", *pair, "--by", by)
        assert_one_sentence(str(error.value))


def test_evaluations_of_which_problems_are_lost_are_not_compared(tmp_path):
    rows = [row(samples=[("5", True)]), row(samples=[("4", False)])]
    good, bad = evaluated(tmp_path / "good", rows), evaluated(tmp_path / "bad", rows)
    (bad / "problems.jsonl").write_text("")
    with pytest.raises(sc.RunFolderError, match=r"has 0 problems; expected 2"):
        command("compare", bad, bad)
    other = evaluated(tmp_path / "other", rows[:1])
    with pytest.raises(sc.RunFolderError, match="cannot compare 2 problems with 1"):
        command("compare", good, other)
    with pytest.raises(sc.RunFolderError, match="cannot compare 0 problems with 0"):
        paired([], [], "greedy")
    program = {"greedy": row()["greedy"], "samples": [{"status": "passed", "right": True, "truncated": False}]}
    mixed = evaluated(tmp_path / "mixed", [rows[0], program])
    with pytest.raises(sc.ConfigError, match="no answers to vote by"):
        command("compare", good, mixed, "--by", "majority")


@pytest.mark.slow
def test_gsm8k_is_asked_from_a_file_and_a_chat_from_a_model_with_a_template(tmp_path, policy):
    model, tokenizer = policy
    (tmp_path / "test.jsonl").write_text(json.dumps(LINE) + "\n")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    common = ["--task", "gsm8k", "--model", tmp_path / "model", "--dataset", tmp_path / "test.jsonl"]
    common += ["--max_new_tokens", "8"]
    found = {}
    for style in ("chat", "plain"):
        said = command("eval", *common, "--prompt_style", style, "--output_dir", tmp_path / style, "--json").stdout
        assert json.loads(said)["problems"] == 1
        found[style] = next(read_lines(tmp_path / style / "problems.jsonl", "problem"))["greedy"]
    assert found["chat"] != found["plain"]
    assert found["chat"]["truncated"]
    said = command("compare", tmp_path / "chat", tmp_path / "plain").stdout
    assert "better on 0 problems" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--samples", "-1"], "samples is -1; expected at least 0"),
        (["--batch_size", "0"], "batch_size is 0"),
        (["--temperature", "0"], "temperature is 0.0; expected more than 0"),
        (["--task", "gsm"], "unknown task 'gsm'"),
        (["--split", "test"], "unknown split 'test'"),
        (["--problems", "0"], "problems is 0; expected at least 1"),
        (["--task", "gsm8k", "--dataset", "./none.jsonl"], "does not exist; expected a folder"),
        (["--task", "gsm8k", "--dataset", "a.jsonl", "--few_shot", "2"], "expected a folder with train.jsonl too"),
        (["--prompt_style", "chat"], "no chat template; expected 'plain'"),
        (["--dtype", "int3"], "dtype"),
    ],
)
def test_bad_settings_are_one_sentence_before_anything_is_written(flags, said, tmp_path):
    with pytest.raises(sc.SpanCreditError, match=said) as error:
        command("eval", *flags, "--output_dir", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_completion_ends_at_the_stop_text_and_tells_whether_it_was_cut(policy):
    model, tokenizer = policy
    prompt = "Question: Ann has 4 eggs. Then she buys 3 more. How many eggs does Ann have?\nSolution:"
    (ended,) = complete(model, tokenizer, [prompt], 100, **GREEDY)
    assert not ended.truncated
    (cut,) = complete(model, tokenizer, [prompt], 5, **GREEDY)
    assert cut.truncated
    assert ended.text.startswith(cut.text)
    (stopped,) = complete(model, tokenizer, [prompt], 100, stops=("####",), **GREEDY)
    assert stopped.text == ended.text.partition("####")[0]
    assert not stopped.truncated


def test_the_majority_is_the_answer_that_most_samples_give_and_no_answer_has_no_vote():
    assert majority(row(samples=[("4", False), ("5", True), ("5", True)])) == 1.0
    assert majority(row(samples=[(None, False), (None, False), ("5", True)])) == 1.0
    assert majority(row(samples=[(None, False)])) == 0.0
    assert majority(row(samples=[("4", False), ("5", True)])) == 0.0, "the first of those that tie"


def test_shares_of_truncated_and_unread_completions_are_over_all_of_them():
    rows = [row(samples=[(None, False), ("5", True)]), row(False, samples=[("5", True), ("5", True)])]
    found = summarise(rows)
    assert found["unread"] == 1 / 6
    assert found["truncated"] == 0
    assert found["sampled"]["mean"] == 0.75
    assert found["majority"]["mean"] == 1.0
    assert "majority" not in summarise([row()])


def test_pairs_are_compared_by_mcnemars_exact_test():
    first = [row(greedy=i < 10) for i in range(30)]
    second = [row(greedy=i >= 8) for i in range(30)]
    found = paired(first, second, "greedy")
    assert (found.only_first, found.only_second) == (8, 20)
    assert found.p == binomtest(8, 28).pvalue
    assert found.difference.mean == 12 / 30
    assert found.difference.low < 12 / 30 < found.difference.high
    same = paired(first, first, "greedy")
    assert (same.p, same.difference.low, same.difference.high) == (1.0, 0.0, 0.0)


def test_shares_of_samples_are_compared_by_students_test():
    first = [row(samples=[("5", True), ("4", False)])] * 3 + [row(samples=[("4", False), ("4", False)])] * 3
    second = [row(samples=[("5", True), ("5", True)])] * 4 + [row(samples=[("4", False), ("4", False)])] * 2
    found = paired(first, second, "sampled")
    assert found.p == pytest.approx(ttest_1samp([0.5, 0.5, 0.5, 1.0, 0.0, 0.0], 0).pvalue)
    with pytest.raises(sc.ConfigError, match="no samples"):
        paired([row()], [row()], "majority")


def test_an_interval_of_right_or_wrong_is_wilsons():
    found = share([1.0] * 3 + [0.0])
    interval = binomtest(3, 4).proportion_ci(method="wilson")
    assert (found.mean, found.low, found.high) == (0.75, interval.low, interval.high)


def test_problems_with_a_question_and_an_answer_keep_their_checksum():
    few = list(islice(problems("held_out"), 5))
    assert checksum(few) == 2586900309
    assert checksum([Problem(LINE["question"], " 2+3 = 5\n#### 5", "5")]) == 1923875808
    assert len({checksum(few), checksum(few[:4]), checksum([*few[1:], few[0]])}) == 3


ADD = {
    "name": "add",
    "prompt": "def add(x, y=0):\n",
    "entry_point": "add",
    "canonical": "    return x + y\n",
    "calls": (Call(({0, 8},), {"y": [1]}),),
}


@pytest.mark.parametrize(
    "changes",
    [
        {"calls": (*ADD["calls"], Call((3,)))},
        {"calls": (Call(({0, 8},), {"y": (1,)}),)},
        {"calls": (Call(([0, 8],), {"y": [1]}),)},
        {"calls": (), "test": "def check(candidate):\n    assert candidate(1) == 1\n"},
        {"expected": (3,)},
        {"canonical": "    return x - y\n"},
        {"how": "set"},
        {"atol": 0.1},
    ],
)
def test_programs_that_are_tested_otherwise_are_other_problems(changes):
    assert checksum([CodeProblem(**ADD | changes)]) != checksum([CodeProblem(**ADD)])


def test_the_order_in_which_a_process_has_a_set_makes_no_other_problem():
    first, second = {0, 8}, {8, 0}
    assert list(first) != list(second), "or the test tests nothing"
    calls = [(Call((one, {"a": one})),) for one in (first, second)]
    assert len({checksum([CodeProblem(**ADD | {"calls": one})]) for one in calls}) == 1


def test_evaluations_of_other_problems_or_unfinished_ones_are_not_compared(tmp_path):
    for name, number in (("a", 1), ("b", 2)):
        EvalFolder.create(tmp_path / name, {"checksum": number})
    with pytest.raises(sc.RunFolderError, match="is not done"):
        command("compare", tmp_path / "a", tmp_path / "b")
    for name in "ab":
        EvalFolder(tmp_path / name).finish({})
    with pytest.raises(sc.RunFolderError, match="have different problems"):
        command("compare", tmp_path / "a", tmp_path / "b")
    with pytest.raises(sc.RunFolderError, match="holds no evaluation"):
        command("compare", tmp_path, tmp_path / "b")
    with pytest.raises(sc.ConfigError, match="unknown accuracy"):
        command("compare", tmp_path / "a", tmp_path / "b", "--by", "luck")
