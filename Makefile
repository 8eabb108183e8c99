# Two commands for a newcomer: `make repro` makes the experiment, `make test` proves the code.
# PYTHON picks the interpreter (3.11 or newer). On a machine without a GPU, PyPI's torch brings gigabytes of CUDA
# that it cannot use: `make repro PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"` avoids them.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev repro test fast check lint types bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## make .venv and install from requirements.lock
setup-dev: $(VENV)/.installed-dev ## the same with what tests need

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Setting up $(VENV) with $(PYTHON) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clew needs Python 3.11 or newer; name one with make PYTHON=…")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -r requirements-dev.lock
	@touch $@

repro: setup ## make the experiment: dvc repro
	@clew params check
	@dvc repro
	@echo
	@echo "The report: $(CURDIR)/reports/report.html"
	@git ls-files --error-unmatch dvc.lock >/dev/null 2>&1 && git diff --quiet HEAD -- dvc.lock && echo "dvc.lock is unchanged: what was made is what is committed, to the byte." \
		|| echo "dvc.lock is not the committed one: see it with \`git diff HEAD dvc.lock\`, the numbers with \`dvc metrics diff\`."

# A file's tests stay in one process: what one of its fixtures made is made once. Properties take the same examples each
# time and as long as they need; `pytest` alone draws new ones.
PYTEST := python -m pytest -q -n auto --dist loadfile --hypothesis-profile=ci

test: setup-dev ## all tests, whole pipelines with the tiny model among them
	@$(PYTEST)

fast: setup-dev ## the tests that take seconds
	@$(PYTEST) -m "not slow"

lint: setup-dev
	@ruff check src tests benchmarks
	@ruff format --check src tests benchmarks

types: setup-dev
	@mypy

check: lint types test ## lint, types and all tests: what CI runs

bench: setup-dev ## measure speed and memory; docs/benchmarks.md keeps the tables
	@python benchmarks/history.py
	@python benchmarks/text_rules.py .clew/bench/text_rules
	@python benchmarks/personal_data.py .clew/bench/text_rules
	@python benchmarks/near_duplicates.py
	@python benchmarks/features.py .clew/bench/features
	@python benchmarks/selection.py .
	@python benchmarks/label_noise.py .clew/bench/noisy_sets
	@python benchmarks/cleaning_downstream.py .clew/bench/noisy_sets
	@python benchmarks/cleaning_scale.py .clew/bench/cleaning_scale
	@python benchmarks/training.py .
	@python benchmarks/predict.py .
	@python benchmarks/alignment.py .clew/bench/alignment

lock: ## write both lock files anew from pyproject.toml
	@rm -rf .clew/lock && $(PYTHON) -m venv .clew/lock
	@.clew/lock/bin/python -m pip install -qq $(PIP_ARGS) torch==2.13.0 -e .
	@.clew/lock/bin/python -m pip freeze --exclude clew --exclude-editable | sed 's/+cpu$$//' > requirements.lock
	@.clew/lock/bin/python -m pip install -qq $(PIP_ARGS) -e .[dev]
	@.clew/lock/bin/python -m pip freeze --exclude clew --exclude-editable | sed 's/+cpu$$//' \
		| grep -vxFf requirements.lock > requirements-dev.lock
	@rm -rf .clew/lock

clean: ## remove what stages made; the DVC cache and downloads stay
	@rm -rf data models reports .clew
