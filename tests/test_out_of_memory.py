"""Out of memory while scoring: half as many tokens, the same numbers, said once and counted."""

import warnings
import weakref

import pytest
import torch
from toy_models import tiny

import spancredit as sc
from spancredit.counterfactual import ceiling
from spancredit.counterfactual.lockstep import CURRENT

SPANS = [(0, 4), (4, 9), (9, 14), (14, 20)]
ROLLOUTS = [sc.Rollout([3, 5], [7 + (i * k) % 40 for i in range(24)], advantage=1.0) for k in range(1, 13)]
OWN = {"spans": [SPANS] * len(ROLLOUTS), "answers": [(20, 24)] * len(ROLLOUTS)}


class Small:
    """A model on a device that holds so many tokens of a forward."""

    def __init__(self, model, most):
        self.most, self.refused = most, []
        model.register_forward_pre_hook(self._check, with_kwargs=True)

    def _check(self, module, args, kwargs):
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        if ids.numel() > self.most:
            self.refused.append(ids.numel())
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore is said.")


def scored(model, **config):
    return sc.assign_credit(model, None, ROLLOUTS, sc.CreditConfig(**config), **OWN)


@pytest.fixture(autouse=True)
def _few_tokens(monkeypatch):
    monkeypatch.setattr(ceiling, "LEAST", 32)


@pytest.mark.parametrize("scorer", ["batched", "packed", "entropy"])
def test_it_begins_again_with_half_the_tokens_and_says_the_same(scorer):
    free = scored(tiny("llama"), scorer=scorer, max_tokens_per_forward=1024)
    model = tiny("llama")
    small = Small(model, 160)
    with pytest.warns(UserWarning, match="ran out of memory and goes on with 512 tokens in a forward, half as many"):
        found = scored(model, scorer=scorer, max_tokens_per_forward=1024)
    assert small.refused, "something did not fit"
    for expected, got in zip(free, found, strict=True):
        assert [span.drop for span in got.spans] == pytest.approx([span.drop for span in expected.spans], abs=1e-4)
    halved = sum(credit.cost.halved for credit in found)
    assert halved == len(small.refused)
    assert found[0].cost.halved == halved, "counted at the first"


def test_the_next_batch_begins_where_this_one_fitted_and_nothing_more_is_said():
    model = tiny("llama")
    small = Small(model, 160)
    with pytest.warns(UserWarning, match="ran out of memory"):
        scored(model, scorer="batched", max_tokens_per_forward=1024)
    times = len(small.refused)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = scored(model, scorer="batched", max_tokens_per_forward=1024)
    assert len(small.refused) == times
    assert sum(credit.cost.halved for credit in again) == 0


def test_where_single_rows_do_not_fit_it_ends_in_one_sentence():
    model = tiny("llama")
    Small(model, 8)
    with (
        pytest.warns(UserWarning, match="ran out"),
        pytest.raises(sc.ModelError, match="single rows do") as told,
    ):
        scored(model, scorer="batched", max_tokens_per_forward=256)
    assert "CUDA out of memory. Tried to allocate 20.00 MiB)" in str(told.value)
    assert "\n" not in str(told.value)


def test_where_other_ranks_wait_it_does_not_begin_again():
    model = tiny("llama")
    small = Small(model, 160)
    token = CURRENT.set(Alone())
    try:
        with pytest.raises(sc.ModelError, match="other ranks wait for this one's forwards; expected max_tokens_per_f"):
            scored(model, scorer="batched", max_tokens_per_forward=1024)
    finally:
        CURRENT.reset(token)
    assert len(small.refused) == 1


class Alone:
    def wait_for(self, kind):
        pass


def test_what_the_failed_attempt_held_is_free_before_the_next():
    alive = []

    def score(most):
        held = torch.zeros(4)
        alive.append(sum(one is not None for one in (ref() for ref in refs)))
        refs.append(weakref.ref(held))
        if most > 64:
            raise torch.OutOfMemoryError("full")
        return most

    refs = []
    with pytest.warns(UserWarning, match="ran out"):
        assert ceiling.within_memory(score, tiny("llama"), 256) == (64, 2)
    assert alive == [0, 0, 0]


def test_a_step_says_how_often_in_its_metrics():
    from spancredit.training.metrics import merge, tally

    credits = [sc.Credit(torch.ones(3), cost=sc.Cost(halved=2)), sc.Credit(torch.ones(3))]
    assert merge([tally(credits)])["halved"] == 2
    assert "halved" not in merge([tally(credits[1:])])
