"""What every test has: one thread, the bundled policy, a browser."""

import gc

import pytest
from pages_for_tests import CHROMIUM
from required import pytest_runtest_makereport  # noqa: F401 (pytest finds it here)

# Imported where it is needed: a process that only hands out tests to others does not wait for torch.


def pytest_collection_finish():
    """One thread is fastest for tiny models. Imports stay: no trainer looks through them for garbage as it begins."""
    import torch

    torch.set_num_threads(1)
    gc.freeze()


@pytest.fixture(scope="module")
def policy():
    """The bundled policy and its tokenizer."""
    from spancredit.models import load_policy

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
