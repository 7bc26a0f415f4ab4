"""A rollout server for tests: transformers' own sampling, in the place of vLLM's or SGLang's."""

import os
from typing import Any

import ray
import torch
from transformers import AutoModelForCausalLM
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

PREFIX = "hf_cpu_server_"


@ray.remote(num_cpus=0)
class Server:
    """Holds the policy and samples one completion a request."""

    def __init__(self, path: str, replica_rank: int, longest: int) -> None:
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.generator = torch.Generator().manual_seed(replica_rank)
        self.longest = longest
        self.step = 0

    def update(self, weights: dict[str, torch.Tensor], step: int | None) -> None:
        missing = self.model.load_state_dict(weights, strict=False).missing_keys
        assert all(name == "lm_head.weight" for name in missing), missing
        self.step = step or 0

    def sleep(self) -> None: ...

    def wake_up(self, tags: Any = None) -> None: ...

    @torch.inference_mode()
    def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        temperature, ids, logps = sampling_params["temperature"], [], []
        fed, cache = torch.tensor([prompt_ids]), None
        while len(ids) < self.longest and (not ids or ids[-1] != self.model.config.eos_token_id):
            out = self.model(fed, past_key_values=cache, use_cache=True)
            logps_V = torch.log_softmax(out.logits[0, -1].float() / (temperature or 1.0), dim=-1)
            drawn = (
                torch.multinomial(logps_V.exp(), 1, generator=self.generator) if temperature else logps_V.argmax()[None]
            )
            ids.append(int(drawn))
            logps.append(float(logps_V[drawn]))
            fed, cache = drawn[None], out.past_key_values
        return TokenOutput(
            token_ids=ids, log_probs=logps, stop_reason="completed", extra_fields={"global_steps": self.step}
        )


class Replica(RolloutReplica):
    async def launch_servers(self) -> None:
        server = Server.options(name=f"{PREFIX}{self.replica_rank}").remote(
            self.model_config.path, self.replica_rank, self.config.response_length
        )
        self.servers = [server]
        self._server_handle, self._server_address = server, f"replica-{self.replica_rank}"


class Adapter(BaseRollout):
    """Inside the training workers: gives the server its weights."""

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(self, weights: Any, global_steps: int | None = None, **_: Any) -> None:
        named = {name: tensor.detach().cpu().float() for name, tensor in weights}  # every rank takes part in gathering
        size = self.config.tensor_model_parallel_size
        rank = int(os.environ["RANK"])
        if rank % size == 0:
            await ray.get_actor(f"{PREFIX}{rank // size}").update.remote(named, global_steps)
