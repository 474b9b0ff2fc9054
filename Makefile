# `make setup` needs Python 3.11 or newer; it uses uv where that is installed and pip otherwise.
.DEFAULT_GOAL := help
.PHONY: help setup running paper test pythons windows windows-all check bench gate soak crash door-kills run-kills fleet \
	mutation mutation-sample wheel format docs lock clean mutants peers

VENV := .venv
BIN := $(VENV)/bin
SOURCES := src tests scripts benchmarks
ARGS ?=
# Processes that share the tests; `make test WORKERS=0` runs them in one, as a debugger wants it.
WORKERS ?= auto

# The tests start hundreds of processes, each of which would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 17

setup: ## Make .venv from requirements.lock, with hashes checked
	@VENV=$(VENV) scripts/setup all

# What running needs and nothing more, from requirements-run.lock; `setup` adds the rest to it.
running:
	@VENV=$(VENV) scripts/setup run

paper: running ## Trade on paper against the simulated terminal: make paper ARGS="--seed 7"
	$(BIN)/trueup paper $(ARGS)

test: setup ## Run the tests: make test ARGS="-k ghost"
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

pythons: setup ## Run a fast tier on the other Pythons here: make pythons PYTHONS="3.12 3.13"
	PYTHONS="$(PYTHONS)" $(BIN)/python scripts/other_pythons.py $(ARGS)

windows: setup ## Run the Windows side's tests under Wine (on Debian; the first time as root)
	scripts/windows/test $(ARGS)

windows-all: setup ## All tests under Wine, also those that take long
	scripts/windows/test --all $(ARGS)

check: setup ## Lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/win32 src/trueup
	$(BIN)/lint-imports

bench: setup ## Measure the speeds into benchmarks/results and their page: make bench ARGS="sync"
	$(BIN)/python -m benchmarks --keep $(ARGS)
	$(BIN)/python scripts/generate_docs.py

gate: setup ## Count instructions against the merge base; red if a path needs over 3 % more
	$(BIN)/python scripts/instruction_gate.py $(ARGS)

soak: setup ## Run the long tests, and the properties with many more examples
	$(BIN)/python -m pytest -m "soak or hypothesis" --hypothesis-profile=soak --timeout=0 $(ARGS)

crash: setup ## Kill, freeze and break real processes at random: make crash ARGS="--events 300 --seed 7"
	$(BIN)/python -m tests.crash.harness $(ARGS)

door-kills: setup ## Kill a bot of the official module: make door-kills ARGS="--kills 200 --bots 2"
	$(BIN)/python -m tests.crash.door_kills $(ARGS)

run-kills: setup ## Kill a bot of `trueup run` under limits: make run-kills ARGS="--kills 200 --seed 7"
	$(BIN)/python -m tests.crash.run_kills $(ARGS)

fleet: setup ## Kill, freeze and cut off the nodes of a fleet: make fleet ARGS="--accounts 300 --events 200"
	$(BIN)/python -m tests.fleet.fleet_run $(ARGS)

mutation: setup ## Change one rule of the core at a time, and see that a test fails
	$(BIN)/mutmut run $(ARGS)

mutation-sample: setup ## The same for a sample of another package: make mutation-sample ARGS="journal"
	$(BIN)/python scripts/mutation_sample.py $(ARGS)

mutants: setup ## Find bugs that are seeded on purpose, and write the table of them
	$(BIN)/python -m tests.world.mutants
	$(BIN)/python -m tests.fleet.mutants

peers: setup ## Run packages of other authors, bare and behind the door, and write the table of it
	$(BIN)/python -m tests.peers $(ARGS)

wheel: running ## Build what pip installs, into dist/; nothing is fetched
	$(BIN)/python -m hatchling build --target wheel

format: setup ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## Write the generated pages of docs/ again
	$(BIN)/python scripts/generate_docs.py

lock: ## Resolve the newest versions into both locks (needs uv)
	$(COMPILE) --extra alerts --extra mcp --extra metrics --extra mt5 --extra page --extra postgres --group dev --upgrade \
		--output-file requirements.lock pyproject.toml
	$(COMPILE) --group build --constraints requirements.lock \
		--output-file requirements-run.lock pyproject.toml

clean: ## Remove .venv and everything that tools leave behind
	rm -rf $(VENV) .venv-* .wine build dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
