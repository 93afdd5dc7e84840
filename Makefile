# Two commands are enough: `make quickstart` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help install quickstart test lint format faults cluster-test fuzz bench clean

help:  ## What there is to make.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(INSTALLED_DEV)  ## Make .venv and install everything, pinned.

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(PIP) --editable '.[dev]'
	touch $@

quickstart: $(INSTALLED)  ## Install, then run a sweep on images that need no download.
	$(BIN)/sweep run sweeps/quickstart.yaml --fresh

test: $(INSTALLED_DEV)  ## All tests: the quick ones, then real sweeps with Ray, whatever became of the quick ones.
	@quick=0; $(BIN)/python -m pytest -m "not ray" --numprocesses 2 || quick=$$?; \
	sweeps=0; $(BIN)/python -m pytest -m ray --numprocesses 2 || sweeps=$$?; \
	said() { test "$$1" = 0 && echo passed || echo "FAILED (exit code $$1)"; }; \
	echo "quick tests: $$(said $$quick); real sweeps: $$(said $$sweeps)"; \
	test "$$quick" = 0 && test "$$sweeps" = 0

lint: $(INSTALLED_DEV)  ## ruff, mypy --strict, the layers, the pages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(INSTALLED_DEV)  ## Format and mend what ruff can mend.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

faults: $(INSTALLED_DEV)  ## Cause every fault, again and again (docs/reliability.md): half an hour.
	$(BIN)/python -m pytest tests/faults --long

cluster-test: $(INSTALLED_DEV)  ## Cause the faults of a cluster on machines made of network namespaces (root): ten minutes.
	$(BIN)/python -m pytest tests/execution/cluster tests/deploy/test_slurm.py --cluster

fuzz: $(INSTALLED_DEV)  ## Ask `sweep check` about 12,000 damaged sweep files: two minutes.
	$(BIN)/python -m tests.support.fuzz --files 12000

bench: $(INSTALLED_DEV)  ## Measure against peers; writes the table of benchmarks/README.md.
	$(BIN)/python -m benchmarks --write

clean:  ## Remove what tools left behind; results/ stays.
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
