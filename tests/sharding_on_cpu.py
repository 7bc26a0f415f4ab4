"""`spancredit`, with accelerate brought to shard on the CPU, where it ignores FSDP and DeepSpeed.

To be started by a launcher, with `ACCELERATE_TORCH_DEVICE=cpu` and `--use_cpu false`: accelerate then takes the ranks
for accelerators that talk by gloo. All ranks but the main one are slow to write their part of a checkpoint.
"""

import os
import time

from accelerate.state import PartialState
from accelerate.utils import DistributedType
from transformers import Trainer

from spancredit.cli import main

save_random_state = Trainer._save_rng_state


def slowly(trainer, folder):
    time.sleep(0.0 if os.environ["RANK"] == "0" else 1.5)
    save_random_state(trainer, folder)


if __name__ == "__main__":
    Trainer._save_rng_state = slowly
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    main()
