"""`spancredit explain`: one completion, given or sampled, with the credit of each span."""

from typing import Any

import torch

from spancredit.config import CreditConfig
from spancredit.credit import assign_credit
from spancredit.errors import RolloutError
from spancredit.models import load_policy
from spancredit.report.records import make_record
from spancredit.types import Rollout


def explain(
    model_name: str, prompt: str, completion: str | None, config: CreditConfig, max_new_tokens: int = 512, seed: int = 0
) -> dict[str, Any]:
    """The record of one rollout. Without a completion, one is sampled at the configuration's temperature.

    Raises:
        RolloutError: if the prompt or the given completion is empty.
        ModelError: if the model cannot be loaded or lacks what the configuration needs.
    """
    if not prompt:
        raise RolloutError("the prompt is empty; expected the text that the completion answers.")
    if completion is not None and not completion:
        raise RolloutError("the completion is empty; expected its text, or none to have one sampled.")
    model, tokenizer = load_policy(model_name)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # what TRL's trainers do for a tokenizer without one
    prompt_ids = tokenizer(prompt)["input_ids"]
    if completion is not None:
        completion_ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    else:
        torch.manual_seed(seed)
        input_ids = torch.tensor([prompt_ids], device=model.device)
        output_BL = model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            do_sample=True,
            temperature=config.temperature,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        completion_ids = output_BL[0, len(prompt_ids) :].tolist()
    rollout = Rollout(prompt_ids, completion_ids)
    return make_record(rollout, assign_credit(model, tokenizer, [rollout], config)[0], tokenizer, step=0)
