"""Tiny models run fastest on one thread, and do not disturb each other on a shared machine."""

import pytest
import torch
from pages_for_tests import CHROMIUM
from required import pytest_runtest_makereport  # noqa: F401 (pytest finds it here)

from spancredit.models import load_policy

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def policy():
    """The bundled policy and its tokenizer."""
    return load_policy("bundled")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives chromium, is not installed"
    )
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()
