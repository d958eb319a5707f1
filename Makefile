# Everything runs in .venv, which is made from the exact versions of requirements.lock.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKDIR ?= runs
UV_VERSION := 0.13.8
COUNT ?= 200

.PHONY: help quickstart env test test-slow faults mutants check bench docs dist lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

quickstart: env  ## set up, then search loss weighting, schedule and learning rate on digits (about 3 minutes)
	$(BIN)/snrlab run quickstart --workdir $(WORKDIR)

env: $(VENV)/.ready  ## the environment alone

# Bytecode is compiled once here: without it every new Ray process spends some 20 s compiling torch.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "snrlab needs Python 3.11 or newer; $$($(PYTHON) --version) was found. Try: make env PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	@echo "installing the locked dependencies (about 7 GB on disk, a minute or more)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

test: env  ## the test suite (at most 15 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: env  ## real studies (about 30 minutes)
	$(BIN)/python -m pytest -m "slow and not faults"

faults: env  ## break every kind of file, process and resource of a study (about 2 hours)
	$(BIN)/python -m pytest -m faults tests/faults

mutants: env  ## change the code in COUNT random places, one at a time, and see whether the tests notice (200, in hours)
	$(BIN)/python -m tests.mutants $(COUNT)

check: env  ## linters and types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: env  ## benchmarks against peers, as ratios
	$(BIN)/python -m tests.benchmarks

docs: env  ## build the documentation as a site in site/, which needs no network
	$(BIN)/mkdocs build

dist: env  ## build a wheel and an sdist in dist/
	$(BIN)/uv build --no-build-isolation --python $(BIN)/python --out-dir dist

lock: env  ## resolve the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --no-header \
	  --no-emit-index-url --no-emit-find-links --upgrade -o requirements.lock pyproject.toml

clean:  ## remove the environment and caches, keep results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
