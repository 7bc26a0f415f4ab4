"""verl's own command in a process of its own: the bundled policy on the embedded task, two FSDP2 workers on the CPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import torch
from datasets import Dataset

from spancredit.models import BUNDLED_FOLDERS
from spancredit.tasks.wordproblems import problems

HERE = Path(__file__).parent
TIMEOUT = 600
FP32 = "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
PROMPTS, GROUP, TEMPERATURE = 4, 4, 1.2
LONGEST = 96
DAPO = (
    "actor_rollout_ref.actor.clip_ratio_low=0.2",
    "actor_rollout_ref.actor.clip_ratio_high=0.28",
    "actor_rollout_ref.actor.loss_agg_mode=token-mean",
    "algorithm.filter_groups.enable=True",
    "algorithm.filter_groups.metric=acc",
    "reward.reward_manager.name=dapo",
    f"+reward.reward_kwargs.max_resp_len={LONGEST}",
    "+reward.reward_kwargs.overlong_buffer_cfg={enable:True,len:32,penalty_factor:1.0,log:False}",
)


@dataclass(frozen=True)
class Run:
    folder: Path
    output: str

    def recorded(self, name: str) -> dict[str, Any]:
        return torch.load(self.folder / f"{name}.pt")

    @property
    def losses(self) -> list[dict[str, Any]]:
        return [torch.load(path) for path in sorted(self.folder.glob("loss-*.pt"))]

    @property
    def metrics(self) -> list[dict[str, float]]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["data"] for line in lines]


def chat_policy(folder: Path) -> Path:
    """The bundled policy with a chat template that adds nothing, since verl asks by chat."""
    shutil.copytree(BUNDLED_FOLDERS["bundled"], folder, dirs_exist_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": TEMPLATE}))
    return folder


def on_cpu() -> dict[str, str]:
    """The environment in which verl runs here."""
    own = ("RAY_", "VERL_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return inherited | {
        "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep),
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "verl_on_cpu",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def run_verl(folder: Path, *own: str, steps: int = 2) -> Run:
    """Train with `python -m verl.trainer.main_ppo`, and write down what passes.

    Raises:
        AssertionError: if the command fails; with the end of what it said.
        subprocess.TimeoutExpired: if it takes longer than `TIMEOUT` seconds. It is killed with all its children.
    """
    policy = chat_policy(folder / "policy")
    rows = [_row(i, one) for i, one in enumerate(islice(problems("train", 0, "easy"), 2 * PROMPTS * steps))]
    Dataset.from_list(rows).to_parquet(str(folder / "problems.parquet"))
    command = [sys.executable, "-m", "verl.trainer.main_ppo", *_settings(folder, policy, steps), *own]
    environment = on_cpu() | {
        "VERL_USE_EXTERNAL_MODULES": "verl_on_cpu,recorder",
        "SPANCREDIT_TEST_RECORDS": str(folder),
        "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
    }
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets:  # whose paths must be short
        status, output = _ended([*command, f"+ray_kwargs.ray_init._temp_dir={sockets}"], folder, environment)
    assert status == 0, output[-6000:]
    return Run(folder, output)


def _ended(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """The exit status of a command, and what it said."""
    said: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **said)
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        _end(process)
    return process.returncode, output


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing of it is left, Ray's own processes included."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for child in children:
        if child.is_running():
            child.kill()
    process.wait()


def _row(i: int, problem: Any) -> dict[str, Any]:
    return {
        "data_source": "wordproblems",
        "prompt": [{"role": "user", "content": problem.prompt}],
        "reward_model": {"style": "rule", "ground_truth": str(problem.answer)},
        "extra_info": {"index": i},
    }


def _settings(folder: Path, policy: Path, steps: int) -> list[str]:
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    return [
        f"data.train_files={folder}/problems.parquet",
        f"data.val_files={folder}/problems.parquet",
        f"data.train_batch_size={PROMPTS}",
        "data.max_prompt_length=128",
        f"data.max_response_length={LONGEST}",
        "data.dataloader_num_workers=0",
        f"actor_rollout_ref.model.path={policy}",
        "actor_rollout_ref.model.use_remove_padding=False",
        "actor_rollout_ref.model.enable_gradient_checkpointing=False",
        "+actor_rollout_ref.model.override_config.attn_implementation=eager",
        f"{actor}.strategy=fsdp2",
        f"{actor}.ppo_mini_batch_size={PROMPTS}",
        f"{actor}.ppo_micro_batch_size_per_gpu=4",
        f"{actor}.optim.lr=1e-3",
        f"{actor}.fsdp_config.use_torch_compile=False",
        f"+{actor}.fsdp_config.mixed_precision={FP32}",
        f"{rollout}.name=hf_cpu",
        f"{rollout}.n={GROUP}",
        f"{rollout}.temperature={TEMPERATURE}",
        f"{rollout}.tensor_model_parallel_size=2",
        f"{rollout}.log_prob_micro_batch_size_per_gpu=4",
        f"{rollout}.agent.num_workers=1",
        "algorithm.adv_estimator=grpo",
        "reward.num_workers=1",
        f"reward.custom_reward_function.path={HERE}/reward_for_tests.py",
        "trainer.n_gpus_per_node=2",
        "trainer.device=cpu",
        f"trainer.total_training_steps={steps}",
        "trainer.val_before_train=False",
        "trainer.resume_mode=disable",
        "trainer.logger=[console,file]",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "ray_kwargs.ray_init.num_cpus=16",
        "+ray_kwargs.ray_init.num_gpus=2",
        "+ray_kwargs.ray_init.include_dashboard=False",
    ]
