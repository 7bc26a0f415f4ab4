"""`spancredit doctor` as a user types it, on the bundled policy: a set-up that is fine, and some that are not."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from spancredit import cli
from spancredit.errors import ConfigError, UnknownNameError
from spancredit.models import BUNDLED_FOLDERS

SMALL = ["--prompts", "2", "--num_generations", "4", "--difficulty", "easy"]


def doctor(*arguments):
    """The exit status, and what it prints."""
    result = CliRunner().invoke(cli.app, ["doctor", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def findings(*arguments):
    """The exit status, findings by name, and all that was printed as JSON."""
    status, shown = doctor(*arguments, "--json")
    report = json.loads(shown)
    assert report["ok"] == (status == 0)
    return status, {one["name"]: one for one in report["findings"]}, report


@pytest.fixture(scope="module")
def healthy():
    return findings("--num_generations", "8", "--difficulty", "easy")


@pytest.mark.slow
def test_a_healthy_job_is_fine_and_what_it_takes_is_noted(healthy):
    status, found, report = healthy
    assert status == 0
    assert {"cost", "memory"} <= set(found)
    assert not {"error"} & {one["severity"] for one in found.values()}
    assert 0 < found["cost"]["number"] < 1
    assert {"answers", "answer_span", "scorers", "dropout", "flat"} <= {*report["silent"], *found}
    measured = report["measured"]
    assert (measured["completions"], measured["prompts"]) == (64, 8)
    assert measured["largest_difference"] < 1e-4
    assert measured["answers"] > 0.9
    assert 0 < measured["scored"] <= measured["with_advantage"] < 1
    assert measured["prompt"]["end"].endswith("\nSolution:")


@pytest.mark.slow
def test_the_same_seed_finds_the_same(healthy):
    again = findings("--num_generations", "8", "--difficulty", "easy")[2]["measured"]
    timed = ("seconds", "credit_share")
    assert {k: v for k, v in again.items() if k not in timed} == {
        k: v for k, v in healthy[2]["measured"].items() if k not in timed
    }


@pytest.mark.slow
def test_a_limit_on_tokens_that_is_too_short_is_found():
    status, found, _ = findings(*SMALL, "--max_completion_length", "12")
    assert status == 1
    assert {found[name]["severity"] for name in ("truncated", "answers", "rewards")} == {"error"}
    assert found["truncated"]["number"] == 1.0
    assert "cut off before it: 16" in found["answers"]["text"]
    assert 0 < len(found["answers"]["example"]) <= 160


@pytest.mark.slow
def test_a_noise_floor_above_every_drop_is_found():
    status, found, _ = findings(*SMALL, "--prompts", "3", "--num_generations", "8", "--credit_noise_floor", "500")
    assert status == 1
    assert found["noise_floor"]["severity"] == "error"
    assert "Lower --credit_noise_floor (500)" in found["noise_floor"]["advice"]
    assert "below_noise_floor" in found["uniform"]["text"]


@pytest.mark.slow
def test_a_file_of_settings_with_dropout_and_a_pattern_that_takes_too_much(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(BUNDLED_FOLDERS["bundled"], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.2}))
    settings = tmp_path / "mine.yaml"
    lines = ["num_generations: 4", "per_device_train_batch_size: 16", "max_completion_length: 72", "top_p: 0.95"]
    settings.write_text("\n".join([f"model_name_or_path: {model}", *lines, "credit_answer_pattern: '####.*'"]))
    status, found, report = findings("--config", settings, "--prompts", "2", "--credit_seed=1")
    assert status == 1
    assert found["dropout"]["severity"] == "warning"
    assert found["dropout"]["number"] == report["measured"]["training_noise"] > 0.01
    assert "attention_dropout 0.2" in found["dropout"]["text"]
    assert found["answer_span"]["severity"] == "error"
    assert "'####'" in found["answer_span"]["text"]
    assert "top_p=0.95" in found["sampling"]["text"]


@pytest.mark.slow
def test_warnings_fail_only_under_strict():
    flags = ["--max_completion_length", "44"]
    found = findings(*flags)[1]
    worst = {one["severity"] for one in found.values()}
    assert "error" not in worst
    assert "warning" in worst
    status, shown = doctor(*flags, "--strict")
    assert status == 1
    assert "\nwarning  truncated: " in shown


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--importance_sampling_level", "sequence"], "cannot carry per-token advantages"),
        (["--credit_horizon", "8", "--credit_budget", "0.1"], "does not go with budget"),
        (["--model_name_or_path", "./nowhere"], "cannot load the model './nowhere'"),
        (["--num_generations", "7"], "a multiple of"),
        (["--lora_target_modules", "nothing", "--use_peft", "true"], "The trial stopped in making the trainer"),
    ],
)
def test_what_would_stop_training_is_one_finding_and_no_traceback(flags, says):
    status, found, report = findings(*flags)
    assert status == 1
    assert set(found) == {"refused"}
    assert says in found["refused"]["text"]
    assert "\n" not in found["refused"]["text"]
    assert report["measured"] is None


@pytest.mark.parametrize(
    ("flag", "nearest"), [("--credit_moed", "--credit_mode"), ("--promts", "--prompts"), ("--stric", "--strict")]
)
def test_a_flag_that_there_is_not_is_a_wrong_command_line_and_no_finding(flag, nearest):
    with pytest.raises(UnknownNameError, match=f"unknown flag '{flag}'.* Did you mean '{nearest}'"):
        doctor(flag, "1")


@pytest.mark.slow
def test_uniform_credit_is_a_note_and_its_rewards_are_checked_all_the_same():
    status, found, report = findings(*SMALL, "--credit_mode", "uniform", "--max_completion_length", "12")
    assert status == 1
    assert found["uniform"]["severity"] == "note"
    assert "rewards" in found
    assert not {"answers", "cost", "memory"} & set(found)
    assert report["measured"]["scored"] == 0


@pytest.mark.slow
def test_spans_whose_drops_differ_and_whose_weights_do_not_are_found_beside_another_weight_of_the_answer():
    status, found, report = findings(*SMALL, "--credit_boost", "0.5", "--credit_min_weight", "0.5")
    assert status == 1
    assert found["flat"]["severity"] == "error"
    assert found["flat"]["number"] == 1.0
    assert "boost 0.5, min_weight 0.5" in found["flat"]["text"]
    assert report["measured"]["scored"] > 0


@pytest.mark.parametrize("verl", [[], ["--verl"]])
def test_a_crash_is_told_from_findings_by_its_status(monkeypatch, capfd, verl):
    def crashes(*_):
        raise ZeroDivisionError("of the doctor's own")

    monkeypatch.setattr("spancredit.commands.doctor_job.checked", crashes)
    monkeypatch.setattr("spancredit.training.verl.doctor.examine", crashes)
    assert doctor(*verl) == (3, "")
    monkeypatch.setattr("sys.argv", ["spancredit", "doctor", *verl])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert "ZeroDivisionError: of the doctor's own" in capfd.readouterr().err


@pytest.mark.slow
def test_what_it_says_without_a_terminal():
    status, shown = doctor(*SMALL, "--max_completion_length", "12")
    assert status == 1
    lines = shown.splitlines()
    assert lines[0].startswith("bundled on wordproblems, credit counterfactual: 16 completions of 4 prompts")
    assert any(line.startswith("error    truncated: 100 % of completions (16 of 16) are cut off") for line in lines)
    assert any(line.strip().startswith("-> Raise --max_completion_length (12)") for line in lines)
    assert lines[-1].startswith("3 errors, 0 warnings, ")


def test_no_prompt_at_all_is_refused_as_other_commands_do():
    with pytest.raises(ConfigError, match="--prompts is 0; expected at least 1"):
        doctor("--prompts", "0")


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["execution", "exchange", "probe"])
def test_code_is_examined_by_what_its_credit_is_measured_on(outcome):
    status, found, _ = findings("--task", "code", "--outcome", outcome, "--prompts", "2")
    assert status == 0
    assert not {"answers", "judge", "answer_span", "reasoning"} & set(found), "no answer is missed"
    assert "cost" in found
