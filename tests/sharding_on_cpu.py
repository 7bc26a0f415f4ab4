"""`spancredit`, with accelerate brought to shard on the CPU, where it ignores FSDP and DeepSpeed.

To be started by a launcher, with `ACCELERATE_TORCH_DEVICE=cpu` and `--use_cpu false`: accelerate then takes the ranks for
accelerators that talk by gloo.
"""

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from spancredit.cli import main

if __name__ == "__main__":
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    main()
