"""verl on a machine without an accelerator, for tests: a platform, FSDP2 on gloo, and a rollout server that samples.

verl loads it in every process: `VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=verl_on_cpu`.
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _zero(*_: Any, **__: Any) -> int:
    return 0


def _device_module() -> types.ModuleType:
    """`torch.cpu` with the functions that verl calls of `torch.cuda`."""
    module = types.ModuleType("torch_cpu_as_accelerator")
    module.__dict__.update({name: getattr(torch.cpu, name) for name in dir(torch.cpu) if not name.startswith("__")})
    for name in ("empty_cache", "set_device", "synchronize", "manual_seed", "manual_seed_all", "ipc_collect"):
        setattr(module, name, _nothing)
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"):
        setattr(module, name, _zero)
    module.mem_get_info = lambda *_: (1 << 34, 1 << 34)
    module.current_device = lambda: torch.device("cpu")
    module.get_rng_state = torch.get_rng_state
    module.set_rng_state = torch.set_rng_state
    module.is_available = lambda: True
    module.device_count = lambda: 1
    module.get_device_name = lambda *_: "CPU"
    return module


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """Two "GPUs" that Ray is told of are two processes on the CPU."""

    module = _device_module()
    device_name = "cpu"
    vendor_name = "cpu"
    device_module = module

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None


def _register() -> None:
    """What needs the platform first."""
    import verl.utils.distributed
    from verl.workers.engine import EngineRegistry
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    EngineRegistry.register("language_model", ["fsdp2"], device="cpu")(FSDPEngineWithLMHead)
    _ROLLOUT_REGISTRY["hf_cpu", "async"] = "hf_rollout_server.Adapter"

    def replica() -> type:
        from hf_rollout_server import Replica

        return Replica

    RolloutReplicaRegistry.register("hf_cpu", replica)
    import verl.workers.engine_workers as workers

    start = verl.utils.distributed.initialize_global_process_group_ray
    workers.initialize_global_process_group_ray = lambda timeout_second=None, backend=None: start(
        timeout_second, "gloo"
    )


_register()
