# Every target makes what it needs; nothing has to be installed by hand but Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-rtx test-all matrix kill-test bench docs lint format type imports sources golden check clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.native: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is older than 3.11, which native engines need; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -U pip
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[native]'
	@touch $@

$(VENV)/.dev: $(VENV)/.native
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[native,dev]'
	@touch $@

$(VENV)-rtx/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-rtx
	$(VENV)-rtx/bin/python -m pip install -q -U pip
	$(VENV)-rtx/bin/python -m pip install -q -c constraints.txt -e '.[native,dev,tensorrt-rtx]'
	@touch $@

setup: $(VENV)/.dev ## make .venv with everything that tests and tools need

demo: $(VENV)/.native ## build the tiny LLaVA and ask it about a picture, twice
	$(BIN)/mmtrt recipe=llava variant=tiny
	@echo; echo "Once more: everything is in the store."
	$(BIN)/mmtrt recipe=llava variant=tiny

test: $(VENV)/.dev ## run the tests (minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-rtx: $(VENV)-rtx/.dev ## compile plans with TensorRT-RTX, in a venv of its own; needs no GPU
	$(VENV)-rtx/bin/python -m pytest -m 'not network and not gpu' tests/native_tensorrt

test-all: $(VENV)/.dev ## run the slow tests too
	$(BIN)/python -m pytest -m 'not network and not gpu'

matrix: $(VENV)/.dev $(VENV)-rtx/.dev ## build and run every family with every engine; write docs/what_runs_where.md
	-$(BIN)/python -m pytest -p tests.matrix --matrix docs/what_runs_where.json -m cell tests -k 'not plans' --timeout 900
	-$(VENV)-rtx/bin/python -m pytest -p tests.matrix --matrix docs/what_runs_where.json -m cell tests -k plans --timeout 900
	$(BIN)/python -m tests.matrix_page

kill-test: $(VENV)/.dev ## kill a cold run at 100 random moments; the store must survive each
	MMTRT_KILLS=100 $(BIN)/python -m pytest -m '' tests/test_kill.py -s

bench: $(VENV)/.dev ## measure and write docs/benchmarks.md; fails if a goal is missed
	$(BIN)/python -m benchmarks.all --write

docs: $(VENV)/.dev ## write docs/recipes/, one page a recipe
	$(BIN)/python -m tools.recipe_pages.page docs/recipes

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## check format, style and import directions
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports

type: $(VENV)/.dev ## check types
	$(BIN)/mypy

sources: $(VENV)/.dev ## record stages whose VERSION went up; SAME=run: it writes what it wrote before
	$(BIN)/python -m tools.sources $(SAME)

golden: $(VENV)/.dev ## rewrite the golden files
	MMTRT_GOLDEN=1 $(BIN)/python -m pytest tests/report tests/export tests/plan/test_golden.py

check: lint type test test-rtx ## what CI runs

clean: ## remove caches and build output; never the store
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
