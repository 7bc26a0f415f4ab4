"""verl reads its platform from the environment when it is first imported."""

import os
from importlib.util import find_spec

import pytest
from runs_of_verl import chat_policy

ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
if find_spec("verl"):  # else every test here is skipped, and the others must not see this
    os.environ.update({"VERL_PLATFORM": "cpu", "VERL_USE_EXTERNAL_MODULES": "verl_on_cpu", **ALONE})


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory):
    return chat_policy(tmp_path_factory.mktemp("policy"))
