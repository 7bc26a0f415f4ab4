"""Whether completions have an answer that credit can measure, something before it, and nothing else in it."""

from collections import Counter
from collections.abc import Sequence

from spancredit.doctor.facts import CUT_OFF, Completion, Setup
from spancredit.doctor.finding import Finding, by_share, counted, percent, tail

ANSWERS = {"error": 0.9, "warning": 0.1}  # shares without an answer
FOREIGN = {"error": 0.25, "warning": 0.0}  # shares of answers with something else inside
AT_ONCE = {"error": 0.9, "warning": 0.25}  # shares of answers with nothing before them
DISAGREE = {"warning": 0.1}  # shares where the judge reads an answer and credit none


def answers(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Completions in which no answer was found, and why."""
    missing = [one for one in completions if one.answer is None and one.missing is not None]
    if not _matters(setup) or not missing:
        return None
    share = len(missing) / len(completions)
    reasons = Counter(one.missing for one in missing if one.missing)
    why = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
    commonest = reasons.most_common(1)[0][0]
    return Finding(
        by_share(share, **ANSWERS),
        "answers",
        share,
        f"{percent(share)} of completions ({len(missing)} of {len(completions)}) have no answer that credit can "
        f"measure ({why}); they keep weight 1.",
        _advice(setup, commonest),
        tail(next(one.text for one in missing if one.missing == commonest)),
    )


def _matters(setup: Setup) -> bool:
    """Whether an answer in the completion is what credit is measured on."""
    return setup.credit.mode != "uniform" and setup.outcome == "answer"


def _advice(setup: Setup, commonest: str) -> str:
    if setup.task == "code":
        return "A program has no answer to measure: --outcome execution, or probe."
    if commonest == CUT_OFF and not setup.may_be_longer:
        return "Ask for shorter solutions, or shorten the prompts: the model has no positions for longer ones."
    if commonest == CUT_OFF:
        return f"Raise --max_completion_length ({setup.max_completion_length}), or see that completions end."
    return (
        "Ask for a form that is found (#### 21, \\boxed{21}, <answer>21</answer>), by the prompt, --few_shot or "
        "--system_prompt; or say where yours stands: --credit_answer_pattern."
    )


def judge(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Completions that the task's judge reads an answer in, where credit finds none."""
    odd = [one for one in completions if one.judged and one.answer is None]
    if not _matters(setup) or not odd:
        return None
    share = len(odd) / len(completions)
    return Finding(
        by_share(share, **DISAGREE),
        "judge",
        share,
        f"In {counted(len(odd), 'completion')} ({percent(share)}) the task's judge reads an answer and credit finds "
        "none.",
        "Set --credit_answer_pattern to what the judge reads, the value in a group named answer.",
        tail(odd[0].text),
    )


def answer_span(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Answers whose tokens hold special tokens or markers: their log-probability measures the format, too."""
    found = [one for one in completions if one.answer is not None]
    mixed = [one for one in found if one.inside]
    if not _matters(setup) or not mixed:
        return None
    share = len(mixed) / len(found)
    inside = ", ".join(repr(text) for text, _ in Counter(t for one in mixed for t in one.inside).most_common(3))
    return Finding(
        by_share(share, **FOREIGN),
        "answer_span",
        share,
        f"{percent(share)} of answers have more than a value in their tokens ({inside}), whose log-probability is "
        "measured with it.",
        "Let --credit_answer_pattern match the value alone, in a group named answer; if a token of the tokenizer joins "
        "marker and value, ask for a space between them.",
        repr(mixed[0].answer),
    )


def reasoning(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Completions that give the answer at once: there is nothing to weigh."""
    found = [one for one in completions if one.answer is not None]
    bare = [one for one in found if one.alone == "no_span"]
    if not _matters(setup) or not bare:
        return None
    share = len(bare) / len(found)
    return Finding(
        by_share(share, **AT_ONCE),
        "reasoning",
        share,
        f"{percent(share)} of the completions with an answer have nothing before it, so no span can be credited.",
        "Ask for steps first, by the prompt, --few_shot or --system_prompt.",
        tail(bare[0].text),
    )
