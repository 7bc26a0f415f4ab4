"""A judge behind HTTP in a process of its own, which can be killed while it is asked, and the reward that asks it."""

import json
import multiprocessing
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from typing import Any

FORK = multiprocessing.get_context("fork")
DEADLINE = 10.0  # seconds; the trainer has none, so that it has to be the reward's own


def served(url: str) -> Callable[..., list[float]]:
    """A reward function in TRL's form."""

    def judge(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        asked = json.dumps({"completions": completions, "answers": answer}).encode()
        with urllib.request.urlopen(url, asked, timeout=DEADLINE) as reply:
            rewards: list[float] = json.load(reply)
        return rewards

    return judge


@contextmanager
def server(last: int | None = None) -> Iterator[str]:
    """Its address. In the middle of its `last` request it is killed, and that gets half a reply."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_serve, args=(sender, last), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}/"
    finally:
        process.kill()
        process.join()


def _serve(sender: Connection, last: int | None) -> None:
    asked = 0

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal asked
            asked += 1
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pairs = zip(given["completions"], given["answers"], strict=True)
            reply = json.dumps([float(f"#### {answer}" in said) for said, answer in pairs]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            if asked == last:
                self.wfile.write(reply[: len(reply) // 2])
                self.wfile.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    judge = HTTPServer(("127.0.0.1", 0), Judge)
    sender.send(judge.server_port)
    judge.serve_forever()
