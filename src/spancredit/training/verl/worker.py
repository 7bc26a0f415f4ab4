"""The worker: counterfactuals are built and scored where the policy's shards are; only weights travel back."""

from functools import partial

import torch
from tensordict import TensorDict
from verl.single_controller.base.decorator import make_nd_compute_dataproto_dispatch_fn, register
from verl.utils import tensordict_utils as tu
from verl.workers.engine_workers import ActorRolloutRefWorker

from spancredit.config import CreditConfig
from spancredit.credit import weights_for
from spancredit.training.metrics import tally
from spancredit.training.verl.rows import logprobs_by, rollouts_of
from spancredit.training.verl.settings import SENT, TALLY, WEIGHTS


class CreditWorker(ActorRolloutRefWorker):
    """verl's worker with one more method."""

    @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="actor"))
    def compute_credit(self, data: TensorDict) -> TensorDict | None:
        """Token weights of this rank's rollouts, jagged float32 `(B, T)`, and what each adds to the metrics.

        Args:
            data: The fields `settings.FIELDS`, and `CreditConfig`'s fields as non-tensor data `credit_settings`.
        """
        config = CreditConfig(**tu.get(data, SENT))
        engine = self.actor.engine
        credits = weights_for(
            rollouts_of(data),
            partial(logprobs_by, self.actor, config.temperature),
            self.actor.model_config.tokenizer,
            config,
            group=engine.get_data_parallel_group(),
        )
        if not engine.is_mp_src_rank_with_outputs():
            return None
        weights = torch.nested.as_nested_tensor([one.token_weights for one in credits], layout=torch.jagged)
        return tu.get_tensordict({WEIGHTS: weights, TALLY: [tally([one]) for one in credits]})
