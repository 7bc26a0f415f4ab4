"""The child process of `math_verify`: a line of JSON in, a verdict out. It is run as a file, away from the package.

A request is [seconds, gold, text]; a reply is `right`, `wrong` or `gold`, if the gold answer cannot be parsed. The
kernel ends the process when a request takes too long, so that none is left behind if its parent is gone.
"""

import json
import logging
import os
import resource
import signal
import sys

from math_verify import parse, verify

MEMORY = 2 << 30  # bytes


def judge(gold: str, text: str) -> str:
    parsed = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    if not parsed:
        return "gold"
    return "right" if verify(parsed, parse(text, parsing_timeout=None), timeout_seconds=None) else "wrong"


def serve() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no reply
    logging.disable()
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    print(judge("1", "\\boxed{1}"), file=replies, flush=True)  # ready, and what is loaded at first use is loaded
    for line in sys.stdin:
        seconds, gold, text = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        reply = judge(gold, text)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(reply, file=replies, flush=True)


if __name__ == "__main__":
    serve()
