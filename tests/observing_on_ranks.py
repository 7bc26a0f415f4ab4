"""What an observer is given of two ranks that have different numbers of rollouts. Run by test_observer.py: FOLDER."""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch.distributed as dist

from spancredit.training.batch import on_main


def main(folder: Path) -> None:
    faulthandler.dump_traceback_later(int(os.environ["SECONDS"]), exit=True)
    dist.init_process_group("gloo")
    rank, group = dist.get_rank(), dist.new_group(backend="gloo")
    found = [on_main([f"{rank}: {i}" for i in range(count)], group) for count in (2 + rank, rank)]
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
