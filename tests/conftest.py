"""Tiny models run fastest on one thread, and do not disturb each other on a shared machine."""

import pytest
import torch

from spancredit.models import load_policy

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def policy():
    """The bundled policy and its tokenizer."""
    return load_policy("bundled")
