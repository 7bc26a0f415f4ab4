"""What stopped a trial, as a finding: it would stop training, too."""

import traceback
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError

from spancredit.doctor.finding import Finding
from spancredit.errors import SpanCreditError

# What the libraries below raise where settings, model and data do not go together.
FAILURES = (
    *(ValueError, TypeError, RuntimeError, ImportError, OSError, LookupError, AttributeError, AssertionError),
    *(ArithmeticError, StrictDataclassError),
)
OWN = "the doctor's own measuring"
PHASES = {  # of a trial, by the function that is at work, the innermost first
    "assign_credit": "scoring",
    "_generate": "generation",
    "_calculate_rewards": "the rewards",
    "training_step": "loss and backward",
    "observed": OWN,
    "tried": "making the trainer",
    "job_of": "loading model and task",
}


def refused(error: BaseException) -> Finding:
    """One sentence; of an error that is not ours also where it was raised."""
    if isinstance(error, torch.OutOfMemoryError):
        return out_of_memory(error)
    advice = "Change what the sentence names: spancredit train would stop there, too."
    if phase(error) == OWN:
        advice = "Training might not stop there: please report it."
    if isinstance(error, SpanCreditError):
        return Finding("error", "refused", None, str(error), advice)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}, in {last.name}"
    said = f"{type(error).__name__}: {' '.join(lines) or 'no message'}"
    return Finding("error", "refused", None, f"The trial stopped in {phase(error)} with {said}", advice, place)


def out_of_memory(error: BaseException) -> Finding:
    where = phase(error)
    advice = {
        "scoring": "Lower --credit_max_tokens_per_forward.",
        "generation": "Lower --max_completion_length, or --num_generations with fewer prompts.",
    }.get(where, "Lower --per_device_train_batch_size and raise --gradient_accumulation_steps.")
    return Finding("error", "out_of_memory", None, f"The device's memory is spent in {where}.", advice)


def phase(error: BaseException) -> str:
    """The part of a step that an error was raised in."""
    names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    return next((what for name, what in PHASES.items() if name in names), "reading the settings")
