"""What starts at once: the command line and the package's names load torch only when something needs it."""

import subprocess
import sys

import pytest

import spancredit as sc


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "code",
    [
        "import spancredit",
        "import spancredit.cli",
        "from spancredit.errors import ConfigError",
        "import sys; sys.argv[1:] = ['--version']; from spancredit.cli import app; app(standalone_mode=False)",
    ],
)
def test_neither_torch_nor_transformers_is_loaded_before_something_needs_it(code):
    done = python(f"{code}\nimport sys\nassert not {{'torch', 'transformers', 'matplotlib'}} & set(sys.modules)")
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_found_by_tools():
    for name in sc.__all__:
        assert getattr(sc, name) is not None
        assert name in dir(sc)
    namespace = {}
    exec("from spancredit import *", namespace)  # noqa: S102
    assert set(sc.__all__) <= set(namespace)
    assert sc.CreditConfig().mode == "counterfactual"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'spancredit' has no attribute 'asign_credit'"):
        _ = sc.asign_credit
