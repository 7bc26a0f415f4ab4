"""Two ranks: what is refused is refused on both, and shards of an unusual kind are scored. Run by test_ranks.py."""

import copy
import faulthandler
import gc
import os

import pytest
import torch
import torch.distributed as dist
from families import CONFIGS, FAMILIES
from scoring_on_ranks import compare, rollouts_of_rank_0, scored, shard
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from transformers import AutoModelForCausalLM

import spancredit as sc


def agree() -> None:
    """Fails if the ranks are at different places."""
    seen = [None, None]
    dist.all_gather_object(seen, "here")
    assert seen == ["here", "here"], seen


def refused_on_both(rank, whole):
    """A rollout of one rank that cannot be meant is an error of both, which can go on together."""
    wrong = [sc.Rollout([1], [10_000])] if rank == 1 else rollouts_of_rank_0(torch.float32)
    with pytest.raises(sc.RolloutError, match="10000" if rank == 1 else "on rank 1: .*10000"):
        scored(whole, wrong, sc.CreditConfig(), dist.group.WORLD)
    agree()


def first_version(own, whole):
    model = FullyShardedDataParallel(copy.deepcopy(whole), device_id=torch.device("cpu"))
    for group in (None, dist.group.WORLD):
        with pytest.raises(sc.ModelError, match="FSDP's first version"):
            scored(model, own, sc.CreditConfig(), group)
    agree()


def tensor_parallel(whole):
    """Its ranks score the same rollouts without a group, and are refused with one."""
    model = copy.deepcopy(whole)
    for layer in model.model.layers:
        plan = {"gate_proj": ColwiseParallel(), "up_proj": ColwiseParallel(), "down_proj": RowwiseParallel()}
        parallelize_module(layer.mlp, init_device_mesh("cpu", (2,)), plan)
    rollouts = rollouts_of_rank_0(torch.float32)
    compare("tp", scored(whole, rollouts, sc.CreditConfig()), scored(model, rollouts, sc.CreditConfig()), 1e-4)
    with pytest.raises(sc.ModelError, match="tensor parallelism"):
        scored(model, rollouts, sc.CreditConfig(), dist.group.WORLD)
    agree()


def narrow_trunk(own):
    """The output head is narrower than the layers, so that company at the head has to be, too."""
    torch.manual_seed(0)
    whole = AutoModelForCausalLM.from_config(CONFIGS["opt"]()).eval()
    assert whole.config.word_embed_proj_dim != whole.config.hidden_size
    expected = scored(whole, rollouts_of_rank_0(torch.float32), sc.CreditConfig())
    got = scored(shard(copy.deepcopy(whole)), own, sc.CreditConfig(), dist.group.WORLD)
    compare("opt", expected[: len(own)], got, 1e-4)


def lower_precision(own, whole):
    """Shards that are kept in float32 and compute in bfloat16: the self-check expects no more than that can give."""
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    model = copy.deepcopy(whole)
    for layer in model.model.layers:
        fully_shard(layer, mp_policy=policy, reshard_after_forward=True)
    fully_shard(model, mp_policy=policy, reshard_after_forward=True)
    credits = scored(model, own, sc.CreditConfig(), dist.group.WORLD)
    expected = scored(whole, rollouts_of_rank_0(torch.float32), sc.CreditConfig())[: len(own)]
    compare("bfloat16", expected, credits, 0.5, 0.5)


def main():
    faulthandler.dump_traceback_later(int(os.environ["SECONDS"]), exit=True)
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    rank, whole = dist.get_rank(), FAMILIES["llama"](torch.float32)
    own = rollouts_of_rank_0(torch.float32) if rank == 0 else []
    refused_on_both(rank, whole)
    first_version(own, whole)
    tensor_parallel(whole)
    narrow_trunk(own)
    lower_precision(own, whole)


if __name__ == "__main__":
    main()
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
