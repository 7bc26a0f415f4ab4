"""A sandbox for programs that models write: candidates in, the values of their calls out, compared elsewhere.

    candidate -> visit -> conversation <-> zygote -> child, confined
                  (trusted)            |   (inside)

See docs/sandbox.md.
"""

from spancredit.sandbox.candidate import FAILURES, Call, Candidate, Opaque, Outcome, Result
from spancredit.sandbox.sandbox import Sandbox

__all__ = ["FAILURES", "Call", "Candidate", "Opaque", "Outcome", "Result", "Sandbox"]
