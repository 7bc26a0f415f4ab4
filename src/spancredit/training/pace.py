"""Pace: how many tokens of scoring a share of the training time pays for, from the steps that were timed."""

from collections import deque
from statistics import median

RECENT = 5  # rounds that count


class Pace:
    """Times of the last rounds, a round being what lies between two scorings: generation, loss, optimizer steps.

    What else lies there (evaluations, checkpoints, logging) is left out: it is between `pause` and `resume`.
    """

    def __init__(self) -> None:
        self._rest: deque[float] = deque(maxlen=RECENT)  # seconds of a round without scoring
        self._per_token: deque[float] = deque(maxlen=RECENT)  # seconds of scoring
        self._ended: float | None = None
        self._aside = 0.0  # seconds since then that were no training
        self._paused: float | None = None

    def pause(self, now: float) -> None:
        """What follows is no training."""
        self._paused = now

    def resume(self, now: float) -> None:
        """Training goes on, or begins."""
        if self._paused is not None:
            self._aside += now - self._paused
        self._paused = None

    def scored(self, started: float, ended: float, tokens: float) -> None:
        """Note a scoring: when it started and ended (seconds, one clock) and what it sent through the model."""
        if self._ended is not None:
            self._rest.append(started - self._ended - self._aside)
        if tokens and self._ended is not None:  # the first scoring compiles, warms up and checks itself
            self._per_token.append((ended - started) / tokens)
        self._ended, self._aside = ended, 0.0

    def allowance(self, share: float) -> float | None:
        """Tokens that take `share` of a round, scoring included; None before a whole round was timed."""
        if not self._rest or not self._per_token:
            return None
        return share / (1 - share) * median(self._rest) / median(self._per_token)
