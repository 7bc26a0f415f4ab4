# `make demo`, `make test` and `make test-verl` each work alone on a fresh clone; the rest are shortcuts for daily work.
PYTHON ?= python3
VENV := .venv
VERL := .venv-verl
BIN := $(VENV)/bin

.PHONY: demo test test-verl unit lint docs clean

demo: $(VENV)/.installed
	$(BIN)/spancredit train

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# verl in an environment of its own: its pins are not ours, and it does not start where this TRL is installed. The core's
# tests run there again, since its transformers is another.
test-verl: $(VERL)/.installed
	$(VERL)/bin/python -m pytest tests/with_verl
	$(VERL)/bin/python -m pytest -m "not slow" $(patsubst %,tests/test_%.py,verl_settings align answers credit scorers segment weighting)

# The tests that take seconds, not minutes.
unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

# The site of README.md and docs/, in build/site; a broken link or anchor is an error.
docs: $(VENV)/.installed-dev
	$(BIN)/python docs/site/build.py

# torch first and by its exact version: an unpinned one can bring gigabytes that a CPU never uses.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $$(grep ^torch== constraints.txt)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,docs,peft,math,code]"
	touch $@

$(VERL)/.installed: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv $(VERL)
	$(VERL)/bin/pip install --quiet $$(grep ^torch== constraints-verl.txt)
	$(VERL)/bin/pip install --quiet --constraint constraints-verl.txt --editable ".[verl]" hypothesis pytest
	$(VERL)/bin/pip uninstall --quiet --yes trl
	touch $@

clean:
	rm -rf $(VENV) $(VERL) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
