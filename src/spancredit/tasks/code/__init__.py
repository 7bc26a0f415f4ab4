"""Programming problems, and what judges a completion by running it in the sandbox.

problem -> prompt -> completion -> program -> sandbox -> values -> verdict -> reward
"""

from spancredit.tasks.code.extract import extract_program
from spancredit.tasks.code.judge import Verdict, judge
from spancredit.tasks.code.outcome import call_probes, execution_credit
from spancredit.tasks.code.problem import CodeProblem
from spancredit.tasks.code.reward import Reward, SandboxSettings

__all__ = [
    "CodeProblem",
    "Reward",
    "SandboxSettings",
    "Verdict",
    "call_probes",
    "execution_credit",
    "extract_program",
    "judge",
]
