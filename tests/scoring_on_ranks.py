"""Two ranks hold one policy in shards and score together: what they get is what one process gets with whole weights.

Run by test_ranks.py. Rank 0 has rollouts of twenty spans, rank 1 has none.
"""

import copy
import faulthandler
import gc
import os
import sys

import torch
import torch.distributed as dist
from families import FALLBACK, FAMILIES, VOCAB
from torch.distributed.fsdp import fully_shard

import spancredit as sc
from spancredit.counterfactual import balance, sharded
from spancredit.counterfactual.lockstep import Lockstep

SETTINGS = {
    "packed": {"max_tokens_per_forward": 128},
    "batched": {"scorer": "batched", "max_tokens_per_forward": 256},
    "sequential": {"scorer": "sequential"},
    "hidden": {"intervention": "attention"},
    "deleted": {"intervention": "delete"},
    "horizon": {"horizon": 4},
    "budget": {"budget": 0.7},
    "mediated": {"mode": "mediated"},
    "blame": {"mode": "blame"},
    "surprisal": {"scorer": "surprisal"},
    "entropy": {"scorer": "entropy", "max_tokens_per_forward": 64},
    "attention": {"scorer": "attention"},
}
STATEFUL = ("hidden", "horizon", "attention", "mediated")  # what a model that carries a state cannot do, or slowly
ROLLOUTS, SPANS = 4, 20
LOCKSTEPS = []


class Counting(Lockstep):
    def __init__(self, *args):
        super().__init__(*args)
        LOCKSTEPS.append(self)


def rollouts_of_rank_0(dtype):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(1, VOCAB, (ROLLOUTS, 5 + 2 * SPANS + 3), generator=generator).tolist()
    return [sc.Rollout(ids[:5], ids[5:], advantage=(-1.0) ** i) for i, ids in enumerate(draws)]


def scored(model, rollouts, config, group=None):
    spans = [[(2 * k, 2 * k + 2) for k in range(SPANS)]] * len(rollouts)
    answers = [(2 * SPANS, 2 * SPANS + 2)] * len(rollouts)
    return sc.assign_credit(model, None, rollouts, config, spans=spans, answers=answers, group=group)


def scored_by_engine(model, own, expected, label):
    """`weights_for` over both ranks: as many sequences on each, in one call."""
    calls = []

    def logprobs(sequences):
        calls.append(len(sequences))
        with torch.no_grad():
            return [token_logps(model, ids) for ids in sequences]

    spans = [[(2 * k, 2 * k + 2) for k in range(SPANS)]] * len(own)
    answers = [(2 * SPANS, 2 * SPANS + 2)] * len(own)
    config = sc.CreditConfig(intervention="delete")
    got = sc.weights_for(own, logprobs, None, config, spans=spans, answers=answers, group=dist.group.WORLD)
    compare(label, expected[: len(own)], got, 1e-4)
    everyone = [[], []]
    dist.all_gather_object(everyone, calls)
    assert everyone[0] == everyone[1] == [ROLLOUTS * (SPANS + 1) // 2], everyone


def token_logps(model, ids):
    logits_LV = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return [0.0, *(float(logits_LV[i, token]) for i, token in enumerate(ids[1:]))]


def shard(model):
    for block in [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)][:1]:
        for layer in block:
            fully_shard(layer, reshard_after_forward=True)
    return fully_shard(model, reshard_after_forward=True)


def compare(name, expected, got, tolerance, weights=2e-4):
    assert [credit.reason for credit in got] == [credit.reason for credit in expected], name
    for one, other in zip(expected, got, strict=True):
        assert one.method == other.method, name
        drops = torch.tensor([[span.drop for span in credit.spans] for credit in (one, other)], dtype=torch.float64)
        torch.testing.assert_close(drops[1], drops[0], atol=tolerance, rtol=tolerance, msg=lambda m: f"{name}: {m}")
        torch.testing.assert_close(other.token_weights, one.token_weights, atol=weights, rtol=0)


def main(dtype_name, families):
    faulthandler.dump_traceback_later(int(os.environ["SECONDS"]), exit=True)
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    rank, dtype = dist.get_rank(), getattr(torch, dtype_name)
    own = rollouts_of_rank_0(dtype) if rank == 0 else []
    sharded.Lockstep, moves_for = Counting, balance.moves_for
    for family in families:
        whole = {**FAMILIES, **FALLBACK}[family](dtype)
        model = shard(copy.deepcopy(whole))
        assert sharded.is_sharded(model)
        assert not sharded.is_sharded(whole)
        for name, settings in SETTINGS.items():
            if family in FALLBACK and name in STATEFUL:
                continue
            config = sc.CreditConfig(**settings)
            expected = scored(whole, rollouts_of_rank_0(dtype), config)
            for shares in (False, True):
                balance.moves_for = moves_for if shares else lambda loads: []
                got = scored(model, own, config, dist.group.WORLD)
                label = f"{family} {dtype_name} {name} rank {rank} shares {shares}"
                if name != "budget":  # which chooses by what a rank has
                    compare(label, expected[: len(own)], got, 1e-5 if dtype == torch.float32 else 1e-10)
                made: list[int] = [0, 0]
                dist.all_gather_object(made, LOCKSTEPS[-1].made)
                assert made[0] == made[1] >= (name != "budget"), (label, made)
            if name == "deleted":
                scored_by_engine(model, own, expected, f"{family} {dtype_name} engine rank {rank}")
    LOCKSTEPS.clear()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
    gc.collect()  # shards that outlive their process group abort the process at its end, now and then
    dist.barrier()
    dist.destroy_process_group()
