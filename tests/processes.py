"""Two processes that work together, and a watchdog: what hangs is a failure that says where it hung."""

import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_ranks(script: str, *arguments: object, count: int = 2, seconds: int = 240) -> str:
    """Run a script of this folder in `count` processes, and return what they printed.

    Fails the test if one of them fails, or if they take longer than `seconds`; then all of them are killed, and each
    has said by itself where it stands, shortly before (`faulthandler`).
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count), "--master_port", "0"),
        *("--standalone", str(HERE / script), *map(str, arguments)),
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where ninja is, by which DeepSpeed builds
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SECONDS": str(seconds - 10), "PATH": path}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise AssertionError(f"{script} hung for {seconds} s:\n{output[-6000:]}") from None
    assert process.returncode == 0, f"{script} failed:\n{output[-6000:]}"
    return output
