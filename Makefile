# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
# pip is used as you have configured it (index, proxy, cache); versions come from .ci/constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -c .ci/constraints.txt
LEGACY := .venv-legacy
SHELL  := /bin/bash

.PHONY: help demo test test-slow test-legacy test-arm64 test-fleet lint types layers check coverage wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.all: $(VENV)/bin/python pyproject.toml .ci/constraints.txt
	$(PIP) -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.all
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/.all ## train, quantize, convert, run and compare on bundled data (into edgecv-demo/)
	$(BIN)/edgecv demo --overwrite

test: $(VENV)/.dev ## the quick suite
	$(BIN)/python -m pytest -m 'not slow and not arm and not fleet' -n auto --dist loadfile

test-slow: $(VENV)/.dev ## the long tests
	$(BIN)/python -m pytest -m slow

$(LEGACY)/.dev: pyproject.toml .ci/constraints-legacy.txt
	$(PYTHON) -m venv $(LEGACY)
	$(LEGACY)/bin/python -m pip install --disable-pip-version-check -c .ci/constraints-legacy.txt -e '.[tflite-runtime]' pytest
	@touch $@

test-legacy: $(LEGACY)/.dev ## the device side on the legacy TFLite engine (Python 3.11, NumPy 1)
	$(LEGACY)/bin/python -m pytest -m 'not slow' -k 'litert or null' tests/conformance/test_backends.py \
	  tests/conformance/test_runtime_calls.py tests/conformance/test_quiet_engines.py \
	  tests/conformance/test_litert_engines.py tests/hostile/test_models.py

test-arm64: $(VENV)/.dev ## the wheel on emulated Arm boards (Debian only; downloads 0.4 GB)
	$(BIN)/python -m pytest -m arm tests/arm -rP

test-fleet: $(VENV)/.dev ## the playbook of examples/fleet against two sshd (Linux with apt; downloads ansible-core)
	$(BIN)/python -m pytest -m fleet tests/fleet

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy strict, and pyright on the public API
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes edgecv --ignoreexternal

layers: $(VENV)/.dev ## import-linter
	$(BIN)/lint-imports

check: lint types layers ## everything but the tests

coverage: $(VENV)/.dev ## the quick suite with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m 'not slow and not arm and not fleet' -q
	$(BIN)/coverage combine
	$(BIN)/coverage report

wheel: $(VENV)/.dev ## build the wheel that goes to a board (dist/)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

clean: ## remove the virtual environment and what was built
	rm -rf $(VENV) $(LEGACY) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
