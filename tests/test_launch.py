"""`spancredit train` in several processes, by `accelerate launch`."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch.distributed as dist
from accelerate.commands import launch as accelerate_launch
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from input_for_tests import assert_one_sentence
from launching import CONFIGS, SMALL, Launched, launched, needs_deepspeed
from transformers import AutoModelForCausalLM

import spancredit as sc
from spancredit import cli
from spancredit.commands.distribution import check_launch, weights_held
from spancredit.commands.train import train
from spancredit.commands.train_arguments import parse
from spancredit.evaluation.accuracy import Exam, greedy_accuracy, own_batches
from spancredit.models import load_policy
from spancredit.report.checkpoints import SEAL
from spancredit.report.lines import read_lines
from spancredit.report.runfolder import RunFolder
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import load_task

DDP, FSDP2, ZERO2, ZERO3 = (CONFIGS / f"{name}.yaml" for name in ("ddp", "fsdp2", "zero2", "zero3"))
WAYS = [
    pytest.param(DDP, id="ddp"),
    pytest.param(FSDP2, id="fsdp2"),
    pytest.param(ZERO3, id="zero3", marks=needs_deepspeed),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Runs of four steps in two processes, each way once."""
    runs = {}

    def run(config: Path) -> tuple[Path, str]:
        if config not in runs:
            path = tmp_path_factory.mktemp(config.stem) / "run"
            status, shown = launched(config, ["train", *SMALL, "--output_dir", path], path.with_name("log"))
            assert status == 0, shown[-6000:]
            runs[config] = path, shown
        return runs[config]

    return run


def weights(path: Path) -> dict:
    return AutoModelForCausalLM.from_pretrained(path).state_dict()


def assert_equal_weights(expected: dict, got: dict, tolerance: float = 0.0) -> None:
    assert expected.keys() == got.keys()
    for name in expected:
        assert (expected[name] - got[name]).abs().max() <= tolerance, name


def rows(path: Path, name: str) -> list[dict]:
    timed = ("time", "seconds", "per_second")
    return [
        {key: value for key, value in row.items() if not any(word in key for word in timed)}
        for row in read_lines(path / f"{name}.jsonl")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("config", WAYS)
def test_two_processes_leave_one_complete_run_folder(finished, config):
    path, shown = finished(config)
    assert [row["step"] for row in rows(path, "metrics")] == [1, 2, 3, 4]
    assert [row["step"] for row in rows(path, "held_out")] == [0, 2, 4]
    records = [(row["step"], row["prompt"]) for row in rows(path, "records")]
    assert [step for step, _ in records] == [step for step in (1, 2, 3, 4) for _ in range(8)]
    assert all(len({prompt for at, prompt in records if at == step}) == 2 for step in (1, 2, 3, 4)), "of both processes"
    assert json.loads((path / "run.json").read_text())["processes"] == 2
    assert json.loads((path / "config.json").read_text())["credit_mode"] == "counterfactual"
    assert (path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list(path.glob("*.part"))
    assert sum(row["credit/scored"] for row in rows(path, "metrics")) > 0
    assert_equal_weights(weights(path / "checkpoint-4"), weights(path / "model"))
    for line in ("step    0  held-out accuracy", "step    4  held-out accuracy", "held-out accuracy before"):
        assert shown.count(line) == 1
    assert "what its spans earned" in shown
    assert "Traceback" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("config", WAYS)
def test_held_out_accuracy_in_two_processes_is_that_of_one(finished, config):
    model, tokenizer = load_policy("bundled")
    task = load_task(TaskSettings(difficulty="easy", held_out_problems=31), 0, tokenizer)
    questions = task.questions("held_out")
    assert len(questions) == 31
    alone = greedy_accuracy(model, tokenizer, Exam(questions, task.reward, 40, 15))
    assert 0 < alone.right < 31
    assert rows(finished(config)[0], "held_out")[0]["text"] == str(alone)


@pytest.mark.slow
@pytest.mark.parametrize("config", [*WAYS[1:], pytest.param(ZERO2, id="zero2", marks=needs_deepspeed)])
def test_weights_in_parts_train_as_whole_ones_do(finished, config):
    whole, parts = (finished(one)[0] for one in (DDP, config))
    assert [row["step"] for row in rows(whole, "held_out")] == [0, 2, 4]
    assert_equal_weights(weights(whole / "model"), weights(parts / "model"), tolerance=1e-4)


@pytest.mark.slow
def test_a_checkpoint_is_marked_complete_after_every_process_has_written(finished):
    path, _ = finished(FSDP2)  # whose second process is slow to write
    for checkpoint in (path / "checkpoint-2", path / "checkpoint-4"):
        written = {file.name: file.stat().st_mtime_ns for file in checkpoint.iterdir()}
        assert {"rng_state_0.pth", "rng_state_1.pth", "pytorch_model_fsdp.bin"} <= written.keys()
        assert sorted(written, key=written.__getitem__)[-2:] == ["trainer_state.json", SEAL]
        assert {row["name"] for row in json.loads((checkpoint / SEAL).read_text())["files"]} == written.keys() - {SEAL}


@pytest.mark.slow
def test_a_process_killed_in_mid_step_ends_the_command_and_the_run_resumes_to_the_same_end(finished, tmp_path):
    """With checkpoints in parts, which no single process writes, and which from_pretrained cannot load."""
    config = tmp_path / "sharded.yaml"
    config.write_text(FSDP2.read_text().replace("type: FULL_STATE_DICT", "type: SHARDED_STATE_DICT"))
    run = tmp_path / "run"
    command = Launched(config, ["train", *SMALL, "--output_dir", run], tmp_path / "log")
    deadline = time.monotonic() + 180
    while not (run / "checkpoint-2" / "trainer_state.json").exists():
        assert time.monotonic() < deadline
        assert command.process.poll() is None, (tmp_path / "log").read_text()[-6000:]
        time.sleep(0.02)
    ranks = command.ranks()
    assert ranks.keys() == {0, 1}
    ranks[1].kill()
    status, _ = command.end(90)
    assert status != 0
    assert not psutil.wait_procs(command.started, timeout=10)[1]
    assert not (run / "model").exists()
    before = {name: rows(run, name) for name in ("metrics", "records", "held_out")}
    kept = {name: [row for row in found if row["step"] <= 2] for name, found in before.items()}
    assert all(kept.values())

    status, shown = launched(config, ["train", "--resume", "--output_dir", run], tmp_path / "log2")
    assert status == 0, shown[-6000:]
    whole, _ = finished(FSDP2)
    for name, found in kept.items():
        assert rows(run, name)[: len(found)] == found
        assert rows(run, name) == rows(whole, name)
    assert not (run / "checkpoint-4" / "model.safetensors").exists()
    assert_equal_weights(weights(whole / "model"), weights(run / "model"))


@pytest.mark.slow
@pytest.mark.parametrize("config", WAYS[1:])
def test_a_finished_run_is_saved_again_without_training(finished, config, tmp_path):
    whole, _ = finished(config)
    copy = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(copy / "model")
    status, shown = launched(config, ["train", "--resume", "--output_dir", copy], tmp_path / "log")
    assert status == 0, shown[-6000:]
    for name in ("metrics", "records", "held_out"):
        assert (copy / f"{name}.jsonl").read_text() == (whole / f"{name}.jsonl").read_text()
    assert_equal_weights(weights(whole / "model"), weights(copy / "model"))


@pytest.mark.slow
def test_what_is_wrong_at_start_is_said_once_and_touches_no_run(finished, tmp_path):
    whole, _ = finished(DDP)
    written = {file: file.read_bytes() for file in whole.iterdir() if file.is_file()}
    status, shown = launched(DDP, ["train", *SMALL, "--output_dir", whole], tmp_path / "log", 120)
    assert status != 0
    (words,) = [line for line in shown.splitlines() if line.startswith("spancredit: ")]
    assert f"{whole} already holds a run" in words
    assert "spancredit/cli.py" not in shown, "no traceback of ours; the launcher has its own"
    assert {file: file.read_bytes() for file in whole.iterdir() if file.is_file()} == written


@pytest.mark.slow
def test_a_run_is_resumed_in_as_many_processes(finished, tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(finished(DDP)[0], tmp_path / "copy")
    monkeypatch.setattr("sys.argv", ["spancredit", "train", "--resume", "--output_dir", str(copy)])
    with pytest.raises(SystemExit):
        cli.main()
    words = capsys.readouterr().err.strip()
    assert_one_sentence(words)
    assert "was started in 2 processes and is resumed in 1" in words


def test_processes_that_would_each_train_alone_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(sc.ConfigError, match=r"a launcher started 2 processes .* training sees 1"):
        train(["--use_cpu", "false", "--output_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["FSDP", "DeepSpeed"])
def test_sharding_that_accelerate_would_leave_out_is_refused(monkeypatch, name):
    _, arguments, _ = parse(None, [])
    check_launch(arguments)
    monkeypatch.setenv(f"ACCELERATE_USE_{name.upper()}", "true")
    with pytest.raises(sc.ConfigError, match=f"asks for {name}, which accelerate leaves out on the CPU"):
        check_launch(arguments)


def test_zero3_that_gathers_nothing_when_it_saves_is_refused():
    _, arguments, _ = parse(None, [])
    zero = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": False}
    arguments.deepspeed_plugin = SimpleNamespace(zero_stage=3, deepspeed_config={"zero_optimization": zero})
    with pytest.raises(sc.ConfigError, match="zero3_save_16bit_model: true"):
        check_launch(arguments)
    zero["stage3_gather_16bit_weights_on_model_save"] = True
    check_launch(arguments)


def test_a_run_is_resumed_the_way_its_weights_were_held(tmp_path, monkeypatch):
    _, arguments, _ = parse(None, [])
    ways = [weights_held(arguments)]
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    for saved in ("FULL_STATE_DICT", "SHARDED_STATE_DICT"):
        monkeypatch.setenv("FSDP_STATE_DICT_TYPE", saved)
        ways.append(weights_held(arguments))
    for stage in (2, 3):
        arguments.deepspeed_plugin = SimpleNamespace(zero_stage=stage)
        ways.append(weights_held(arguments))
    assert len(set(ways)) == 5
    folder = RunFolder.create(tmp_path / "run", [], None, 0, 2, ways[1])
    folder.check_launch(2, ways[1])
    for other in {*ways} - {ways[1]}:
        with pytest.raises(sc.RunFolderError, match=r"was started with .* and is resumed with") as error:
            folder.check_launch(2, other)
        assert_one_sentence(str(error.value))


@pytest.mark.parametrize(("count", "ranks", "size"), [(31, 2, 15), (500, 8, 250), (5, 3, 1), (1, 4, 2), (30, 2, 15)])
def test_every_question_is_asked_by_one_rank_and_all_ask_as_often(monkeypatch, count, ranks, size):
    exam = Exam(list(range(count)), lambda **_: [], 1, size)
    monkeypatch.setattr(dist, "get_world_size", lambda group: ranks)
    shares = []
    for rank in range(ranks):
        monkeypatch.setattr(dist, "get_rank", lambda group, rank=rank: rank)
        shares.append(own_batches(exam, object()))
    assert [question for share in shares for batch in share for question in batch] == exam.questions
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) <= size for share in shares for batch in share)
    alone = own_batches(replace(exam), None)
    assert [question for batch in alone for question in batch] == exam.questions
    assert all(len(batch) == size for batch in alone[:-1])


def test_the_main_process_speaks_at_once_and_others_when_it_does_not(monkeypatch, capsys):
    waited = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    for rank, patience in (("0", []), ("1", [cli.PATIENCE])):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit):
            cli._fail("what is wrong.", 2)
        assert capsys.readouterr().err.strip() == "spancredit: what is wrong."
        assert waited == patience


def environment(config: Path) -> dict[str, str]:
    """What `accelerate launch` tells the processes of a config."""
    parser = accelerate_launch.launch_command_parser()
    given = parser.parse_args(["--config_file", str(config), "--num_processes", "2", "--main_process_port", "0", "x"])
    arguments, _, _ = accelerate_launch._validate_launch_command(given)
    if arguments.use_deepspeed:
        arguments.deepspeed_fields_from_accelerate_config = ""
        return prepare_deepspeed_cmd_env(arguments)[1]
    return prepare_multi_gpu_env(arguments)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ddp", {}),
        (
            "fsdp2",
            {
                "ACCELERATE_USE_FSDP": "true",
                "FSDP_VERSION": "2",
                "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
                "FSDP_RESHARD_AFTER_FORWARD": "true",
                "FSDP_OFFLOAD_PARAMS": "false",
                "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
                "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
            },
        ),
        ("zero2", {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}),
        (
            "zero3",
            {
                "ACCELERATE_USE_DEEPSPEED": "true",
                "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
                "ACCELERATE_DEEPSPEED_ZERO3_INIT": "true",
                "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
            },
        ),
    ],
)
def test_the_launcher_reads_a_shipped_config_as_it_is_meant(name, told, monkeypatch):
    for key in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(key, raising=False)
    config = CONFIGS / f"{name}.yaml"
    found = environment(config)
    assert found["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert {key: found.get(key) for key in told} == told
    assert ("ACCELERATE_USE_FSDP" in found, "ACCELERATE_USE_DEEPSPEED" in found) == (name == "fsdp2", "zero" in name)
    known = vars(accelerate_launch.launch_command_parser().parse_args(["x"]))
    settings = accelerate_launch.load_config_from_file(str(config))
    assert {*settings.fsdp_config, *settings.deepspeed_config} <= known.keys(), "the launcher ignores other keys"
    assert settings.num_processes == -1, "the command line says how many"


def test_four_configs_are_shipped():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {"ddp", "fsdp2", "zero2", "zero3"}
