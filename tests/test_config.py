"""CreditConfig refuses what cannot be meant, and says what it expected."""

import dataclasses
import math

import pytest

from spancredit.config import CreditConfig
from spancredit.errors import ConfigError, SpanCreditError, UnknownNameError

UNKNOWN = [
    ("mode", "counterfactal", "counterfactual"),
    ("mode", "invert", "inverted"),
    ("scorer", "sequental", "sequential"),
    ("segmenter", "sentences", "sentence"),
    ("intervention", "atention", "attention"),
]
OUT_OF_RANGE = [
    ("boost", 0.4),
    ("boost", math.nan),
    ("min_weight", -0.1),
    ("min_weight", math.nan),
    ("min_weight", 2.5),
    ("answer_weight", -1.0),
    ("noise_floor", -0.01),
    ("full_scale", 0.0),
    ("full_scale", -1.0),
    ("max_spans", 0),
    ("max_span_tokens", 0),
    ("window_tokens", 0),
    ("window_tokens", -3),
    ("temperature", 0.0),
    ("temperature", -1.0),
    ("temperature", math.nan),
    ("max_tokens_per_forward", 0),
]
ON_THE_EDGE = [
    ("boost", 0.5),
    ("min_weight", 0.0),
    ("min_weight", 2.0),
    ("answer_weight", 0.0),
    ("noise_floor", 0.0),
    ("max_spans", 1),
    ("max_span_tokens", 1),
    ("window_tokens", 1),
    ("temperature", 0.01),
]


@pytest.mark.parametrize(("name", "value", "nearest"), UNKNOWN)
def test_an_unknown_name_is_refused_and_the_nearest_suggested(name: str, value: str, nearest: str):
    with pytest.raises(UnknownNameError) as caught:
        CreditConfig(**{name: value})
    assert f"unknown {name} {value!r}" in str(caught.value)
    assert f"Did you mean {nearest!r}?" in str(caught.value)


@pytest.mark.parametrize("value", ["zzz", "", None, 3])
def test_an_unknown_name_without_a_near_one_lists_the_known(value: object):
    with pytest.raises(UnknownNameError) as caught:
        CreditConfig(segmenter=value)
    assert "'steps', 'sentence', 'line'" in str(caught.value)
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_number_out_of_range_is_refused_by_name(name: str, value: float):
    with pytest.raises(ConfigError, match=rf"(?=.*{name}).*expected"):
        CreditConfig(**{name: value})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "2", None])
def test_a_number_must_be_a_finite_number(value):
    with pytest.raises(ConfigError, match=r"boost is .*; expected at least 0"):
        CreditConfig(boost=value)


@pytest.mark.parametrize("name", ["max_spans", "max_span_tokens", "window_tokens", "max_tokens_per_forward"])
def test_a_count_must_be_an_integer(name):
    with pytest.raises(ConfigError, match=rf"{name} is 2.5; expected an integer, at least 1"):
        CreditConfig(**{name: 2.5})


@pytest.mark.parametrize(
    ("name", "value"),
    [("conserve", "no"), ("influence", 1), ("seed", "x"), ("answer_pattern", 5), ("max_spans", True), ("boost", True)],
)
def test_a_setting_must_be_of_its_kind(name: str, value: object):
    with pytest.raises(ConfigError, match=rf"{name} is {value!r}; expected "):
        CreditConfig(**{name: value})


def test_the_filler_must_be_a_text():
    with pytest.raises(ConfigError, match="filler is None; expected a text"):
        CreditConfig(filler=None)


@pytest.mark.parametrize(("name", "value"), ON_THE_EDGE)
def test_a_number_on_the_edge_of_its_range_is_taken(name: str, value: float):
    assert getattr(CreditConfig(**{name: value}), name) == value


@pytest.mark.parametrize("pattern", ["(", "[a-", "(?P<answer>", "*"])
def test_a_pattern_that_does_not_compile_is_refused(pattern: str):
    with pytest.raises(ConfigError, match=r"answer_pattern .* does not compile"):
        CreditConfig(answer_pattern=pattern)


@pytest.mark.parametrize("wrong", [{"mode": "zzz"}, {"max_spans": 0}, {"answer_pattern": "("}])
def test_every_refusal_is_ours_and_a_value_error(wrong: dict):
    with pytest.raises(SpanCreditError) as caught:
        CreditConfig(**wrong)
    assert isinstance(caught.value, ValueError)


def test_a_changed_copy_is_checked_again():
    with pytest.raises(ConfigError):
        dataclasses.replace(CreditConfig(), boost=0.1)


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CreditConfig().boost = 3.0


def test_every_setting_is_documented():
    assert [field.name for field in dataclasses.fields(CreditConfig) if not field.metadata.get("help")] == []
