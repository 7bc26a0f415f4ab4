"""What this project takes for granted of the libraries below it, by name: when one moves, the failure says which."""

import inspect
from importlib.metadata import version
from itertools import islice

import pytest
import torch.distributed as dist
from accelerate.utils import FullyShardedDataParallelPlugin
from datasets import Dataset
from toy_models import TRAINER
from transformers import DynamicCache, LlamaConfig, Trainer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from spancredit.tasks.wordproblems import problems

METHODS = {  # of TRL's trainer, which ours override or call, with their parameters
    "_generate": ["prompts"],
    "_generate_and_score_completions": ["inputs"],
    "_generate_single_turn": ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
    "_remove_unused_columns": ["dataset", "description"],
    "create_model_card": ["model_name", "dataset_name", "tags"],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
    "_save_rng_state": ["output_dir"],
    "_save": ["output_dir", "state_dict"],
    "_prepare_for_training": ["max_steps", "train_dataloader", "resume_from_checkpoint"],
    "get_train_dataloader": [],
}
ATTRIBUTES = {  # of a trainer that was made
    "_metrics": dict,
    "_logs": dict,
    "_pending_metrics": dict,
    "_pending_extra_logs": dict,
    "reward_funcs": list,
    "reward_func_names": list,
    "num_generations": int,
    "max_completion_length": int,
    "is_fsdp_enabled": bool,
    "is_deepspeed_enabled": bool,
}
METRICS = {"num_tokens", "reward", "reward_std", "frac_reward_zero_std", "completions/mean_length", "step_time"}
BATCH = {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch"}
SETTINGS = {  # of TRL's config, which ours read
    *("loss_type", "importance_sampling_level", "off_policy_mask_threshold", "use_liger_kernel", "scale_rewards"),
    *("multi_objective_aggregation", "steps_per_generation", "num_iterations", "generation_batch_size"),
    *("mask_truncated_completions", "temperature", "ds3_gather_for_generation"),
}


def moved(library: str, what: str) -> str:
    return f"{library} {version(library)}: {what}"


@pytest.mark.parametrize("name", METHODS)
def test_the_trainers_methods_are_where_they_were(name):
    method = getattr(GRPOTrainer, name, None)
    assert method is not None, moved("trl", f"GRPOTrainer.{name} is gone")
    parameters = [p for p in inspect.signature(method).parameters if p != "self"]
    assert parameters == METHODS[name], moved("trl", f"GRPOTrainer.{name} takes {parameters}")


def test_a_stock_trainer_has_the_attributes_metrics_and_batches_that_ours_reads(policy, tmp_path):
    model, tokenizer = policy
    rows = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 8)])
    config = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=24,
        **TRAINER,
    )
    batches = []

    class Stock(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            batches.append(super()._generate_and_score_completions(inputs))
            return batches[-1]

    class Logs(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            seen.update(logs)

    seen: dict[str, float] = {}
    trainer = Stock(
        model,
        lambda completions, **_: [float(i) for i in range(len(completions))],
        config,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[Logs()],
    )
    for name, kind in ATTRIBUTES.items():
        assert isinstance(getattr(trainer, name, None), kind), moved(
            "trl", f"the trainer's {name} is no {kind.__name__}"
        )
    assert set(trainer._logs) >= {"prompt", "completion", "rewards", "advantages", "extra"}, moved(
        "trl", "_logs changed"
    )
    trainer.train()
    assert set(batches[0]) >= BATCH, moved("trl", f"a batch has no {BATCH - set(batches[0])}")
    assert batches[0]["advantages"].shape == (4,), moved("trl", "advantages are not one a completion")
    assert set(seen) >= METRICS, moved("trl", f"the log has no {METRICS - set(seen)}")


def test_the_settings_that_are_read_or_refused_are_there():
    gone = SETTINGS - set(GRPOConfig.__dataclass_fields__)
    assert not gone, moved("trl", f"GRPOConfig has no {gone}")


def test_the_loss_takes_one_advantage_a_token(policy):
    source = inspect.getsource(GRPOTrainer._compute_loss)
    assert "advantages.dim() == 1" in source, moved("trl", "the loss no longer tells (B,) from (B, T) advantages")


def test_accelerate_says_which_fsdp_it_is():
    assert "fsdp_version" in FullyShardedDataParallelPlugin.__dataclass_fields__, moved(
        "accelerate", "FullyShardedDataParallelPlugin has no fsdp_version"
    )


def test_transformers_keeps_what_the_scorers_read():
    assert hasattr(DynamicCache(), "layers"), moved("transformers", "DynamicCache has no layers")
    assert hasattr(LlamaConfig(), "_attn_implementation"), moved("transformers", "configs have no _attn_implementation")
    assert hasattr(Trainer, "_save_rng_state"), moved("transformers", "Trainer has no _save_rng_state")


def test_torch_sends_objects_by_the_rank_in_a_group():
    for function, name in ((dist.send_object_list, "group_dst"), (dist.recv_object_list, "group_src")):
        assert name in inspect.signature(function).parameters, moved("torch", f"{function.__name__} takes no {name}")
