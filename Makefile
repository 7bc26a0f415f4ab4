# `make demo`, `make test` and `make test-verl` each work alone on a fresh clone; the rest are shortcuts for daily work.
PYTHON ?= python3
VENV := .venv
VERL := .venv-verl
WHEEL := build/wheel
BIN := $(VENV)/bin

LOCKED := install --quiet --require-hashes --no-deps --requirement

.PHONY: demo test wheel-test test-verl unit lint docs lock audit clean

demo: $(VENV)/.installed
	$(BIN)/spancredit train

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The wheel in a fresh environment that holds the lock and torch, and nothing that only the tests have. What is installed
# is used once, so nothing is compiled ahead.
wheel-test:
	rm -rf $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/pip $(LOCKED) requirements.lock --no-compile
	$(WHEEL)/bin/pip install --quiet --no-compile --constraint constraints.txt torch
	$(WHEEL)/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(WHEEL)/dist .
	$(WHEEL)/bin/pip install --quiet --no-compile --no-deps --no-index $(WHEEL)/dist/*.whl
	$(WHEEL)/bin/pip check
	cd $(WHEEL) && bin/spancredit --version
	cd $(WHEEL) && bin/spancredit explain @$(CURDIR)/docs/examples/prompt.txt @$(CURDIR)/docs/examples/completion.txt

# verl in an environment of its own: its pins are not ours, and it does not start where this TRL is installed. The core's
# tests run there again, since its transformers is another.
test-verl: $(VERL)/.installed
	$(VERL)/bin/python -m pytest tests/with_verl
	$(VERL)/bin/python -m pytest -m "not slow" $(patsubst %,tests/test_%.py,verl_settings align answers credit scorers segment weighting)

# The tests that take seconds, not minutes, on all cores; a file stays on one, for its fixtures. All tests together are run one
# after the other: some of the slow ones have several processes of their own, and deadlines.
unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

# The site of README.md and docs/, in build/site; a broken link or anchor is an error.
docs: $(VENV)/.installed-dev
	$(BIN)/python docs/site/build.py

# What is needed and what builds us, by hash. torch has other files, and other hashes, for each CPU and GPU, so it comes
# by its exact version alone: an unpinned one can bring gigabytes that a CPU never uses.
$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip $(LOCKED) requirements.lock
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/pip $(LOCKED) requirements-dev.lock
	$(BIN)/pip check
	touch $@

$(VERL)/.installed: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv $(VERL)
	$(VERL)/bin/pip install --quiet $$(grep ^torch== constraints-verl.txt)
	$(VERL)/bin/pip install --quiet --constraint constraints-verl.txt --editable ".[verl]" hypothesis pytest
	$(VERL)/bin/pip uninstall --quiet --yes trl
	touch $@

# The locks from constraints.txt, which is what one edits. Needs uv, and a package index.
COMPILE := uv pip compile pyproject.toml - --universal --constraint constraints.txt --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-package torch --quiet
lock:
	printf "hatchling\neditables\n" | $(COMPILE) --python-version 3.11 --output-file requirements.lock
	printf "hatchling\neditables\n" | $(COMPILE) --python-version 3.11.5 \
		--extra dev --extra docs --extra peft --extra math --extra code --output-file requirements-dev.lock

# Known vulnerabilities of what is pinned. Needs pip-audit and a service that knows of them; without one it fails: --strict,
# since it would skip every package, and say that there are none.
audit:
	pip-audit --strict --disable-pip --require-hashes --requirement requirements-dev.lock
	grep ^torch== constraints.txt | pip-audit --strict --disable-pip --no-deps --requirement /dev/stdin
	pip-audit --strict --disable-pip --no-deps --requirement constraints-verl.txt

clean:
	rm -rf $(VENV) $(VERL) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
