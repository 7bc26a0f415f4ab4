"""`accelerate launch` in two processes on the CPU; whatever it started ends with it, or is ended."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "recipes" / "accelerate"
MODULE, SHARDING = ("-m", "spancredit"), (ROOT / "tests" / "sharding_on_cpu.py",)
needs_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None or shutil.which("g++") is None,
    reason="ZeRO needs the package deepspeed, and g++, by which it builds its communication on the CPU",
)
SMALL = [
    *("--max_steps", "4", "--save_steps", "2", "--per_device_train_batch_size", "4", "--num_generations", "4"),
    *("--max_completion_length", "40", "--train_problems", "64", "--difficulty", "easy", "--learning_rate", "1e-3"),
    *("--held_out_problems", "31", "--held_out_batch", "15", "--held_out_steps", "2"),  # rank 1 has one batch more
]


class Launched:
    """A command in two processes."""

    def __init__(self, config: Path, arguments: list, log: Path):
        sharded = config.stem != "ddp"
        command = [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, "--mixed_precision", "no"),
            *("--num_processes", "2", "--main_process_port", "0"),
            *(SHARDING if sharded else MODULE),
            *arguments,
            *(("--use_cpu", "false") if sharded and "--resume" not in arguments else ()),
        ]
        own = Path(sys.executable).parent  # where ninja is, by which DeepSpeed builds
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{own}{os.pathsep}{os.environ['PATH']}"}
        environment |= {"ACCELERATE_TORCH_DEVICE": "cpu"} if sharded else {}
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output, env=environment)
        self.started: set[psutil.Process] = set()

    def ranks(self) -> dict[int, psutil.Process]:
        """The processes that train, while all of them run. With all that they started they are remembered."""
        self.started |= set(psutil.Process(self.process.pid).children(recursive=True))
        children = psutil.Process(self.process.pid).children()
        return {int(child.environ()["RANK"]): child for child in children if "RANK" in child.environ()}

    def end(self, seconds: float) -> tuple[int, str]:
        """Exit status and what was printed; a failure if it takes longer, and nothing is left in any case."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.log.read_text()[-6000:]}") from None
        finally:
            self.kill()
        return status, self.log.read_text()

    def kill(self) -> None:
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            for one in [*family, self.process]:
                one.kill()
            self.process.wait()


def launched(config: Path, arguments: list, log: Path, seconds: float = 480) -> tuple[int, str]:
    """Exit status and what was printed."""
    return Launched(config, arguments, log).end(seconds)
