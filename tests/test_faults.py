"""`kill -9` in every phase of a step, and files that a crash spoils: nothing written before is lost, and it goes on."""

import multiprocessing
import signal

import pytest
import torch
from killed_on_purpose import PHASES, killed_in, trained
from safetensors.torch import load_file
from test_checkpoints import SPOILT

import spancredit as sc
from spancredit.commands.train import train
from spancredit.models import load_policy
from spancredit.report.lines import read_lines

SMALL = [
    *("--max_steps", "4", "--save_steps", "2", "--per_device_train_batch_size", "8", "--num_generations", "4"),
    *("--max_completion_length", "32", "--held_out_problems", "4", "--train_problems", "64", "--difficulty", "easy"),
    *("--held_out_steps", "2", "--learning_rate", "1e-3", "--save_total_limit", "1"),
]
LINES = ("metrics.jsonl", "records.jsonl", "held_out.jsonl")


@pytest.fixture(scope="module")
def clean():
    """Processes that begin with everything imported and nothing run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_on_purpose"])
    return context


def run_in(context, function, *arguments):
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join(300)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, clean):
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert run_in(clean, trained, [*SMALL, "--output_dir", str(path)]) == 0
    return path


def rows(path):
    return [{k: v for k, v in row.items() if "time" not in k and "second" not in k} for row in read_lines(path)]


def assert_same_run(expected, got):
    for name in LINES:
        assert rows(got / name) == rows(expected / name), name
    one, other = (load_file(path / "model" / "model.safetensors") for path in (expected, got))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_killed_keeps_what_it_wrote_and_resumes_to_the_same_end(undisturbed, clean, tmp_path, phase):
    run = tmp_path / "run"
    assert run_in(clean, killed_in, phase, [*SMALL, "--output_dir", str(run)]) == -signal.SIGKILL, "it was reached"
    for name in LINES:
        kept = rows(run / name) if (run / name).exists() else []
        assert kept == rows(undisturbed / name)[: len(kept)], "what was written before can be read"
    assert rows(run / "held_out.jsonl"), "the accuracy before training is kept"
    assert run_in(clean, trained, ["--resume", "--output_dir", str(run)]) == 0
    assert_same_run(undisturbed, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "spoil", "said"),
    [
        ("model.safetensors", "zeroed", "cut off or overwritten"),
        ("optimizer.pt", "missing", "missing"),
        ("rng_state.pth", "half", "cut off or overwritten"),
    ],
)
def test_of_checkpoints_a_spoilt_one_is_left_out_and_said(undisturbed, clean, tmp_path, file, spoil, said):
    run = tmp_path / "run"
    two = [*SMALL, "--save_total_limit", "2", "--output_dir", str(run)]
    assert run_in(clean, killed_in, "the trained model", two) == -signal.SIGKILL
    SPOILT[spoil](run / "checkpoint-4" / file)
    with pytest.warns(UserWarning, match=f"checkpoint-4 is left out, since {file} is {said}"):
        train(["--resume", "--output_dir", str(run)])
    assert_same_run(undisturbed, run)


@pytest.mark.slow
def test_without_a_checkpoint_that_can_be_read_it_begins_again(undisturbed, clean, tmp_path):
    run = tmp_path / "run"
    assert run_in(clean, killed_in, "the trained model", [*SMALL, "--output_dir", str(run)]) == -signal.SIGKILL
    SPOILT["half"](run / "checkpoint-4" / "model.safetensors")
    with pytest.warns(UserWarning, match="checkpoint-4 is left out"):
        train(["--resume", "--output_dir", str(run)])
    assert_same_run(undisturbed, run)


# -- weights that are not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_end_a_run_before_it_begins(tmp_path, value):
    model, tokenizer = load_policy("bundled")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = value
    model.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    own = [*SMALL, "--model_name_or_path", str(tmp_path / "policy"), "--gradient_checkpointing", "false"]
    with pytest.raises(sc.TrainerError, match=r"weight model.layers.1.mlp.up_proj.weight is NaN or infinite before t"):
        train([*own, "--held_out_problems", "1", "--output_dir", str(tmp_path / "run")])


@pytest.mark.slow
def test_weights_that_become_nan_end_a_run_and_no_checkpoint_holds_them(tmp_path):
    run = tmp_path / "run"
    wild = [*SMALL, "--learning_rate", "1e38", "--save_steps", "1", "--max_grad_norm", "0", "--output_dir", str(run)]
    with pytest.raises(sc.TrainerError, match=r"is NaN or infinite after step \d, and the run ends; what was written"):
        train(wild)
    for checkpoint in run.glob("checkpoint-*/model.safetensors"):
        assert all(weight.isfinite().all() for weight in load_file(checkpoint).values())
    assert rows(run / "held_out.jsonl")
