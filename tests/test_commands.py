"""The command line as a user types it."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from input_for_tests import assert_one_sentence, full_disk
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl import ModelConfig

import spancredit as sc
from spancredit import cli
from spancredit.commands.checked import parse_checked
from spancredit.commands.quiet import quiet
from spancredit.commands.report import report
from spancredit.commands.train import train
from spancredit.commands.train_arguments import TaskArguments, parse, read_request
from spancredit.commands.train_parser import SettingsParser
from spancredit.report.lines import read_lines
from spancredit.training.trl import CreditGRPOConfig

SMALL = [
    *("--max_steps", "4", "--save_steps", "2", "--per_device_train_batch_size", "8", "--num_generations", "4"),
    *("--max_completion_length", "40", "--held_out_problems", "8", "--train_problems", "64", "--difficulty", "easy"),
    *("--held_out_steps", "2", "--learning_rate", "1e-3"),
]


def spancredit(*arguments, **named):
    command = [sys.executable, "-m", "spancredit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **named)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    result = spancredit("train", *SMALL, "--output_dir", str(path))
    assert result.returncode == 0, result.stderr
    return path, result.stdout


@pytest.mark.slow
def test_train_leaves_a_complete_run_folder(finished):
    path, shown = finished
    metrics = list(read_lines(path / "metrics.jsonl"))
    assert [row["step"] for row in metrics] == [1, 2, 3, 4]
    assert any("credit/drop/calculation" in row for row in metrics)
    assert [row["step"] for row in read_lines(path / "held_out.jsonl")] == [0, 2, 4]
    history = json.loads((path / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
    tracked = {row["step"]: row["held_out/accuracy"] for row in history if "held_out/accuracy" in row}
    assert tracked == {row["step"]: row["accuracy"] for row in read_lines(path / "held_out.jsonl")}
    assert len({row["step"] for row in read_lines(path / "records.jsonl")}) == 4
    facts = json.loads((path / "run.json").read_text())
    assert {"torch", "trl", "spancredit", "python"} <= set(facts["versions"])
    config = json.loads((path / "config.json").read_text())
    assert (config["credit_mode"], config["seed"], config["epsilon_high"]) == ("counterfactual", 0, 0.28)
    assert (config["difficulty"], config["model_name_or_path"]) == ("easy", "bundled")
    assert (path / "curve.png").read_bytes().startswith(b"\x89PNG")
    AutoModelForCausalLM.from_pretrained(path / "model")
    assert "held-out accuracy before" in shown
    assert "credit of calculation spans" in shown
    assert "\x1b" not in shown, "it went into a pipe"


@pytest.mark.slow
def test_a_run_killed_in_mid_step_resumes_to_the_same_trajectory(finished, tmp_path):
    whole, _ = finished
    command = [sys.executable, "-m", "spancredit", "train", *SMALL, "--output_dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while not (tmp_path / "metrics.jsonl").exists() or len((tmp_path / "metrics.jsonl").read_text().splitlines()) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "checkpoint-2").exists()

    result = spancredit("train", "--resume", "--output_dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert_same_run(whole, tmp_path)


def main(monkeypatch, capsys, *arguments):
    """Exit status and last words of a command that fails, in this process."""
    monkeypatch.setattr(sys, "argv", ["spancredit", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    words = capsys.readouterr().err.strip().removeprefix("spancredit: ")
    assert_one_sentence(words)
    return caught.value.code, words


def assert_same_run(expected, got):
    for lines in ("metrics.jsonl", "records.jsonl", "held_out.jsonl"):
        rows = [[_timeless(row) for row in read_lines(path / lines)] for path in (expected, got)]
        assert rows[0] == rows[1], lines
    weights = [load_file(path / "model" / "model.safetensors") for path in (expected, got)]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metrics.jsonl", "records.jsonl", "held_out.jsonl"])
def test_a_run_that_fills_the_disk_says_so_and_resumes_to_the_same_trajectory(
    finished, tmp_path, monkeypatch, capsys, name
):
    whole, _ = finished
    room = sum(map(len, (whole / name).read_text().splitlines()[:-1]))  # the last line does not fit
    with full_disk(name, room):
        status, words = main(monkeypatch, capsys, "train", *SMALL, "--output_dir", tmp_path)
    assert status == 1
    assert "the disk is full ([Errno 28] No space left on device); what was written before is kept" in words
    written, complete = ([_timeless(row) for row in read_lines(path / name)] for path in (tmp_path, whole))
    assert written
    assert written == complete[: len(written)], "what fitted can be read"
    assert_same_run(whole, train(["--resume", "--output_dir", str(tmp_path)]).path)


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_on_a_real_disk_says_so_and_the_run_resumes_without_it(finished, tmp_path):
    """Torch says of a full disk that a position is unexpected; with another version that may be another sentence."""
    whole, _ = finished
    own = f"mount -t tmpfs -o size=3m none {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", own], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets no user mount a disk of their own")
    train_it = f"{sys.executable} -m spancredit train --output_dir {tmp_path}/run"
    script = f"{own} && {train_it} {' '.join(SMALL)}; echo status $?; mount -o remount,size=90m {tmp_path}; "
    script += f"{train_it} --resume && cp -r {tmp_path}/run {tmp_path.parent}/{tmp_path.name}-kept"
    result = subprocess.run(["unshare", "-rm", "sh", "-c", script], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "status 1" in result.stdout
    assert result.stderr.startswith("spancredit: the disk is full (")
    assert "Traceback" not in result.stderr
    assert_same_run(whole, tmp_path.parent / f"{tmp_path.name}-kept")


@pytest.mark.slow
def test_a_records_file_cut_at_its_end_is_reported_and_resumed(finished, tmp_path):
    whole, _ = finished
    copy = shutil.copytree(whole, tmp_path / "copy")
    for name in ("metrics.jsonl", "records.jsonl", "held_out.jsonl"):
        text = (copy / name).read_text()
        (copy / name).write_text(text[: -len(text.splitlines()[-1]) // 2])
    shutil.rmtree(copy / "checkpoint-4")
    assert "Held-out accuracy" in report(copy, None).read_text()
    assert_same_run(whole, train(["--resume", "--output_dir", str(copy)]).path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metrics.jsonl", "records.jsonl", "held_out.jsonl"])
def test_garbage_in_the_middle_of_a_file_is_named_and_nothing_is_overwritten(
    finished, tmp_path, monkeypatch, capsys, name
):
    whole, _ = finished
    copy = shutil.copytree(whole, tmp_path / "copy")
    lines = (copy / name).read_text().splitlines(keepends=True)
    (copy / name).write_text("".join([lines[0], lines[1][: len(lines[1]) // 2], *lines[2:]]))
    written = {path: path.read_bytes() for path in copy.glob("*.jsonl")}
    for command in (["report", copy], ["train", "--resume", "--output_dir", copy]):
        status, words = main(monkeypatch, capsys, *command)
        assert status == 2
        assert f"{name} line 2 is not JSON" in words
        assert "without this line the others can be read" in words
    assert {path: path.read_bytes() for path in copy.glob("*.jsonl")} == written


@pytest.mark.parametrize(
    "said",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 7168 vs 7060"),
    ],
)
def test_a_full_disk_is_known_whoever_says_it(said, monkeypatch, capsys):
    def fails(**_):
        raise RuntimeError("of the checkpoint, nothing is left") from said

    monkeypatch.setattr(cli, "app", fails)
    status, words = main(monkeypatch, capsys)
    assert status == 1
    assert str(said) in words
    assert "the same command continues" in words


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
@pytest.mark.parametrize(("begun", "trained"), [(True, True), (True, False), (False, False)])
def test_a_run_that_ends_early_names_the_command_that_continues_it(
    error, begun, trained, monkeypatch, capsys, tmp_path
):
    """The newest run below runs/ may be another one."""
    folder = tmp_path / "my run [2]"

    def ends(argv, console, tell):
        if begun:
            (folder / "checkpoint-2").mkdir(parents=True) if trained else folder.mkdir()
            tell(folder)
        raise error

    monkeypatch.setattr("spancredit.commands.train.train", ends)
    monkeypatch.setattr(sys, "argv", ["spancredit", "train", "--output_dir", "elsewhere"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = "".join(capsys.readouterr())
    assert caught.value.code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    what = "continues from the last checkpoint" if trained else "starts it over"
    assert (f"spancredit train --resume --output_dir '{folder}' {what}" in said) == begun
    if not begun:
        assert "--resume" not in said


@pytest.mark.parametrize("error", [FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError])
def test_a_place_that_cannot_be_written_is_one_sentence(error, monkeypatch, capsys):
    def fails(**_):
        raise error(errno.ENOENT, "why not", "/proc/x/run.json")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("spancredit: /proc/x/run.json: why not; expected a place")


@pytest.mark.parametrize("other", [FileNotFoundError(errno.ENOENT, "No such file"), RuntimeError("shapes differ")])
def test_an_error_that_is_not_ours_keeps_its_traceback(other, monkeypatch):
    def fails(**_):
        raise other

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(type(other)) as caught:
        cli.main()
    assert caught.value is other


def _timeless(row):
    return {
        key: value
        for key, value in row.items()
        if "time" not in key and "seconds" not in key and "per_second" not in key
    }


@pytest.mark.slow
def test_resuming_a_finished_run_trains_no_further(finished, tmp_path):
    whole, _ = finished
    copy = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(copy / "model")
    result = spancredit("train", "--resume", "--output-dir", str(copy))
    assert result.returncode == 0, result.stderr
    expected, got = (load_file(path / "model" / "model.safetensors") for path in (whole, copy))
    assert all(bool((expected[name] == got[name]).all()) for name in expected)
    for lines in ("metrics.jsonl", "held_out.jsonl"):
        assert (copy / lines).read_text() == (whole / lines).read_text()


def own_yaml(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return path


def test_flags_win_over_yaml_and_yaml_over_the_recipe(tmp_path):
    yaml = own_yaml(tmp_path, "learning_rate: 1.0e-3\nmax_steps: 7\ncredit_boost: 3.0\n")
    task, arguments, model = parse(yaml, ["--max_steps", "9"])
    assert (arguments.learning_rate, arguments.max_steps, arguments.credit.boost) == (1e-3, 9, 3.0)
    assert (arguments.epsilon_high, arguments.beta, model.model_name_or_path) == (0.28, 0.0, "bundled")
    assert task.difficulty == "easy"


@pytest.mark.parametrize("flags", [["--model_name_or_path", "a"], ["--model-name-or-path=a"]])
def test_another_model_starts_from_trls_defaults_not_from_the_recipe(flags):
    _, arguments, _ = parse(None, [*flags, "--bf16", "false"])
    assert (arguments.learning_rate, arguments.max_steps) == (1e-6, -1)


def test_the_bundled_policy_has_its_recipe_however_it_is_named(tmp_path):
    _, arguments, _ = parse(own_yaml(tmp_path, "model_name_or_path: bundled\n"), [])
    assert arguments.max_steps == 60


@pytest.mark.parametrize("flags", [["--output_dir", "x"], ["--output-dir", "x"], ["--output_dir=x"]])
def test_the_run_folder_is_read_in_every_spelling(flags, tmp_path):
    assert read_request([*flags, "--seed", "1"]).output_dir == Path("x")
    assert read_request([*flags, "--seed", "1"]).flags == ["--seed", "1"]
    yaml = own_yaml(tmp_path, "output_dir: y\n")
    assert read_request([f"--config={yaml}"]).output_dir == Path("y")


@pytest.mark.parametrize("more", [["--seed", "1"], ["--config", "x.yaml"]])
def test_a_resumed_run_takes_no_other_settings(more):
    with pytest.raises(sc.ConfigError, match="with its own settings; got"):
        read_request(["--resume", *more])


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("learning_rat: 1", "unknown key 'learning_rat'; did you mean 'learning_rate'"),
        ("- 1", "holds a list; expected a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_yaml_is_named(tmp_path, yaml, said):
    with pytest.raises(sc.ConfigError, match=said):
        parse(own_yaml(tmp_path, yaml), [])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no_such_flag", "1"], "unknown flag '--no_such_flag'"),
        (["--no-such-flag=1"], "unknown flag '--no-such-flag'"),
        (["--model_name", "./mine"], "unknown flag '--model_name'.* Did you mean '--model_name_or_path'"),
        (["stray"], "'stray' is no setting and no value of one"),
        (["--max_steps", "abc"], "invalid int value: 'abc'"),
        (["--difficulty", "eazy"], "unknown difficulty 'eazy'; expected one of .*Did you mean 'easy'"),
        (["--held_out_problems", "0"], "held_out_problems is 0; expected at least 1"),
        (["--credit_mode", "direct"], "direct"),
        (["--credit_boost", "0.1"], "boost is 0.1; expected at least min_weight"),
    ],
)
def test_a_wrong_flag_is_named(flags, said):
    with pytest.raises(sc.SpanCreditError, match=said):
        parse(None, flags)


def test_help_names_every_setting_once_in_its_section():
    said = SettingsParser(TaskArguments, CreditGRPOConfig).format_help()
    task, credit, model, training = (
        said.index(f"\n{title}") for title in ("the task", "credit:", "the model", "training")
    )
    assert task < said.index("\n  --output_dir") < credit < said.index("\n  --credit_mode") < model
    assert model < said.index("\n  --model_name_or_path") < training < said.index("\n  --learning_rate")
    settings = {
        field.name for one in (TaskArguments, CreditGRPOConfig, ModelConfig) for field in fields(one) if field.init
    }
    counts = Counter(re.findall(r"^  --(\w+)", said, re.MULTILINE))
    assert {name: counts[name] for name in settings} == dict.fromkeys(settings, 1)


def test_an_output_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(sc.RunFolderError, match="is a file; expected a folder"):
        train(["--output_dir", str(tmp_path / "taken"), "--train_problems", "16", "--held_out_problems", "1"])


def test_a_batch_that_groups_do_not_fill_is_said_in_flags():
    with pytest.raises(sc.ConfigError, match=r"batch is 4 completions, and --num_generations 8; .* a multiple of 8\."):
        parse(None, ["--per_device_train_batch_size", "4"])


def test_what_is_said_to_the_user_is_a_line_without_its_place(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    quiet()
    assert warnings.formatwarning("spancredit: code runs", UserWarning, "reward.py", 129) == "spancredit: code runs\n"
    assert "other.py:3: UserWarning: code" in warnings.formatwarning("code", UserWarning, "other.py", 3)


@pytest.mark.parametrize(
    "flags",
    [["--max_steps", "0"], ["--learning_rate", "-1"], ["--learning_rate", "nan"], ["--max_completion_length", "0"]],
)
def test_a_number_that_no_one_can_train_with_is_refused_before_there_is_a_run(tmp_path, flags):
    with pytest.raises(sc.ConfigError, match=f"^{flags[0][2:]} is {flags[1]}.*; expected at least"):
        train([*flags, "--output_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_missing_yaml_is_named():
    with pytest.raises(sc.ConfigError, match=r"'nowhere.yaml', which is no file; expected a YAML file"):
        read_request(["--config", "nowhere.yaml"])


@pytest.mark.parametrize(
    "flags",
    [
        ["--num_iterations", "2", "--save_steps", "3"],
        ["--num_iterations", "2", "--save_steps", "0.05", "--max_steps", "60"],
        ["--steps_per_generation", "3", "--gradient_accumulation_steps", "2", "--save_steps", "1"],
    ],
)
def test_saving_between_two_uses_of_a_batch_is_refused(tmp_path, flags):
    with pytest.raises(sc.ConfigError, match=r"in the middle of the \d uses"):
        train([*flags, "--output_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_share_of_the_steps_is_as_many_steps():
    whole = ["--num_iterations", "2", "--max_steps", "60"]
    assert parse_checked(None, [*whole, "--save_steps", "0.1"])[1].save_steps == 0.1
    with pytest.raises(sc.ConfigError, match=r"save_steps is 0\.1, a share of max_steps, which is not set"):
        parse_checked(None, ["--save_steps", "0.1", "--max_steps", "-1"])


def test_a_checkpoint_to_resume_from_is_refused_since_nobody_would_read_it(tmp_path):
    with pytest.raises(sc.ConfigError, match="resume_from_checkpoint is 'last'; expected --resume"):
        train(["--resume_from_checkpoint", "last", "--output_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


SHORT = ["--max_steps", "0", "--train_problems", "16", "--held_out_problems", "1"]  # if it were not refused


@pytest.mark.parametrize(
    ("flags", "yaml"),
    [
        (["--hub_token", "hf_mine"], "seed: 1"),
        (["--hub-token=hf_mine"], "seed: 1"),
        ([], "hub_token: hf_mine"),
        (["--model_init_kwargs", '{"token": "hf_mine"}'], "seed: 1"),
    ],
)
def test_a_token_of_the_hub_is_refused_before_there_is_a_run_folder_to_keep_it(tmp_path, flags, yaml):
    with pytest.raises(sc.ConfigError, match=r"token .*in clear; expected it in .* variable HF_TOKEN") as caught:
        train([*flags, *SHORT, "--config", str(own_yaml(tmp_path, yaml)), "--output_dir", str(tmp_path / "run")])
    assert_one_sentence(str(caught.value))
    assert "hf_mine" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_dapo_whole_from_the_command_line(tmp_path):
    """Fresh prompts for groups without a signal, and shorter completions preferred."""
    dapo = ["--dynamic_sampling_rounds", "3", "--overlong_cache", "16", "--max_steps", "2"]
    folder = train([*SMALL, *dapo, "--output_dir", str(tmp_path / "run")])
    for row in folder.rows(folder.metrics):
        assert row["dynamic_sampling/groups_drawn"] >= 2
        assert row["dynamic_sampling/share_with_advantage"] > 0
        assert -1 <= row["rewards/soft_overlong_punishment_reward/mean"] <= 0
    for record in folder.rows(folder.records):
        assert isinstance(record["right"], bool)
        assert -1 <= record["reward"] - record["right"] <= 0, "the judge's verdict, and beside it the punishment"
    with pytest.raises(sc.ConfigError, match="overlong_cache is 50; expected at most max_completion_length, 40"):
        train([*SMALL, "--overlong_cache", "50", "--output_dir", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_model_that_does_not_exist_is_one_sentence_and_leaves_no_run(tmp_path):
    command = ["train", "--model_name_or_path", str(tmp_path / "nothing"), "--bf16", "false", "--use_cpu", "true"]
    for _ in range(2):
        result = spancredit(*command, "--output_dir", str(tmp_path / "run"))
        assert result.returncode == 2
        assert "cannot load the model" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_explain_prints_a_record_as_json():
    completion = " Ana now has 2 + 3 = 5 eggs.\n#### 5"
    result = spancredit("explain", "Question: Ana has 2 eggs. Then Ana finds 3 more.\nSolution:", completion, "--json")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert "".join(record["tokens"]) == completion
    assert [span["kind"] for span in record["spans"]] == ["text", "calculation", "text"]


@pytest.mark.slow
def test_explain_samples_reads_files_and_draws_a_picture(tmp_path):
    (tmp_path / "prompt.txt").write_text("Question: Ana has 2 eggs. Then Ana finds 3 more.\nSolution:")
    result = spancredit("explain", f"@{tmp_path}/prompt.txt", "--seed", "1", "--svg", str(tmp_path / "x.svg"))
    assert result.returncode == 0, result.stderr
    assert "Ana finds 3 more" in result.stdout
    assert (tmp_path / "x.svg").read_text().startswith("<svg")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "x"], "the prompt is empty"),
        (["x", ""], "the completion is empty"),
        (["x", "y", "--mode", "direct"], "unknown mode 'direct'"),
        (["x", "--model", "/nowhere"], "cannot load the model '/nowhere'"),
        (["@/nowhere"], "names no file"),
        (["x", "y", "--svg", "/nowhere/x.svg"], "expected a file in a folder that exists"),
    ],
)
def test_explain_says_what_is_wrong_in_one_sentence(arguments, said):
    result = spancredit("explain", *arguments)
    assert result.returncode == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_launcher_may_start_several_processes_of_train_alone(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = spancredit("eval", "--problems", "1")
    assert result.returncode == 2
    said = " ".join(result.stderr.split())
    assert "a launcher started 2 processes of spancredit eval, each of which would do the whole; expected one" in said


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["execution", "exchange", "probe"])
def test_code_is_trained_with_credit_from_the_command_line_alone(tmp_path, outcome):
    out = tmp_path / "run"
    arguments = ("--max_steps", "3", "--held_out_problems", "20", "--held_out_steps", "0", "--outcome", outcome)
    result = spancredit("train", "--task", "code", *arguments, "--output_dir", str(out))
    assert result.returncode == 0, result.stderr
    config = json.loads((out / "config.json").read_text())
    assert (config["model_name_or_path"], config["credit_segmenter"], config["outcome"]) == (
        "bundled-code",
        "python",
        outcome,
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(row["credit/scored"] > 0 and row["credit/unscored/no_answer"] == 0 for row in rows)
    method = "exact" if outcome == "probe" else outcome
    assert all(row[f"credit/method/{method}"] > 0 for row in rows)
    assert any(row.get("credit/drop/code:Return", 0) != 0 for row in rows)
    said = " ".join(result.stdout.split())
    instead = "with another's in its place" if outcome == "exchange" else "without one"
    unit = "nats" if outcome == "probe" else "of the tests"
    assert re.search(rf"credit of code:Return spans +{instead} the outcome falls by [-\d.]+ {unit}", said)
    assert re.search(r"rollouts with weights of their own +\d+%", said)
    assert ("drop code:Return" in said) == (outcome != "exchange"), "whose mean is nothing, and no line a step"
    assert re.search(r"step +1 reward [\d.]+ scored \d+%", said)
