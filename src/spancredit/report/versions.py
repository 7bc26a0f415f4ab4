"""What ran: the versions of the packages that decide results, and Python's."""

import platform
from importlib.metadata import version

PACKAGES = ("spancredit", "torch", "transformers", "trl", "accelerate", "datasets")


def versions() -> dict[str, str]:
    """By package."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
