"""What `scaling.py --check` measures with: a small random policy, whole or in shards, and rollouts of random tokens."""

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import spancredit as sc
from spancredit.bench.models import Shape, Source
from spancredit.bench.work import Sizes, random_work

SHAPE = Shape(hidden=128, layers=4, heads=4, kv_heads=2, vocab=4096)
PROMPT, COMPLETION, SPANS, GROUP, MOST = 100, 200, 20, 4, 512


def policy(shard: bool) -> Any:
    """A random model; sharded as accelerate shards one whose embeddings are tied: layers, the tail, the rest."""
    model = Source(shape=SHAPE).load()[0]
    if shard:
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard([model.model.norm, model.model.embed_tokens, model.lm_head], mesh=mesh, reshard_after_forward=False)
        fully_shard(model, mesh=mesh)
    return model


def scoring(
    model: Any, spans: int, ranks: Any, horizon: int | None = None, group: int = GROUP
) -> Callable[[], list[sc.Credit]]:
    """Scores a prompt's group of this rank's own; with no span there is nothing to score.

    Args:
        ranks: Who shares out the work, or None.
    """
    work = random_work(Sizes(PROMPT, COMPLETION, max(1, spans), group, group), SHAPE.vocab, 0, seed=dist.get_rank())
    config = sc.CreditConfig(max_tokens_per_forward=MOST, horizon=horizon)
    answers = [item.answer if spans else None for item in work.items]
    ranges = [item.spans for item in work.items]
    return lambda: sc.assign_credit(model, None, work.rollouts, config, spans=ranges, answers=answers, group=ranks)


def everyone(mine: Any) -> list[Any]:
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found
