"""A skip that may not be: SPANCREDIT_REQUIRE names, with commas between, what has to be here (chromium,bubblewrap).

A test that is skipped for a reason with one of these words fails, so that a machine that is meant to have it all cannot
pass by leaving tests out.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest

VARIABLE = "SPANCREDIT_REQUIRE"


def missing(reason: str, required: str) -> list[str]:
    """What of that a reason for a skip says is not here."""
    return [word for word in required.split(",") if word and word in reason.lower()]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if words := missing(reason, os.environ.get(VARIABLE, "")):
            report.outcome = "failed"
            report.longrepr = f"{reason}; {VARIABLE} says that there is {' and '.join(words)} here"
    return report
