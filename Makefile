# `make setup` needs Python 3.11 or newer; it uses uv where that is installed and pip otherwise.
.DEFAULT_GOAL := help
.PHONY: help setup paper test pythons windows windows-all check bench soak crash mutation wheel format docs lock clean mutants

VENV := .venv
BIN := $(VENV)/bin
SOURCES := src tests scripts benchmarks
ARGS ?=
# Processes that share the tests; `make test WORKERS=0` runs them in one, as a debugger wants it.
WORKERS ?= auto

# The tests start hundreds of processes, each of which would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

# The first interpreter that runs and is new enough. PYTHON=... on the command line goes first.
FIND_PYTHON = for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	python=; done; \
	test -n "$$python" || { echo "trueup needs Python 3.11 or newer: make setup PYTHON=/path/to/it" >&2; exit 1; }

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 13

setup: $(VENV)/.project ## Make .venv from requirements.lock, with hashes checked

# Everything but the project itself, again only when the lock changes.
$(VENV)/.locked: requirements.lock
	@$(FIND_PYTHON); set -e; echo "Making $(VENV) with $$("$$python" --version)"; \
	if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --clear --no-project --no-python-downloads --python "$$python" $(VENV); \
		uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock; \
	else \
		"$$python" -m venv --clear $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check \
			--no-deps --require-hashes -r requirements.lock; \
	fi
	@touch $@

# The build backend is in the lock, so nothing is fetched here. uv makes environments without pip.
$(VENV)/.project: $(VENV)/.locked pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check \
			--no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

paper: setup ## Trade on paper against the simulated terminal: make paper ARGS="--seed 7"
	$(BIN)/trueup paper $(ARGS)

test: setup ## Run the tests: make test ARGS="-k ghost"
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

pythons: ## Run a fast tier on the other Pythons here: make pythons PYTHONS="3.12 3.13"
	@$(FIND_PYTHON); PYTHONS="$(PYTHONS)" "$$python" scripts/other_pythons.py $(ARGS)

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

bench: setup ## Measure the speeds that the documentation states
	$(BIN)/python -m benchmarks $(ARGS)

soak: setup ## Run the long tests, with many more examples
	$(BIN)/python -m pytest -m soak --hypothesis-profile=soak --timeout=0 $(ARGS)

crash: setup ## Kill, freeze and break real processes at random: make crash ARGS="--events 300 --seed 7"
	$(BIN)/python -m tests.crash.harness $(ARGS)

mutation: setup ## Change one rule of the core at a time, and see that a test fails
	$(BIN)/mutmut run $(ARGS)

mutants: setup ## Find bugs that are seeded on purpose, and write the table of them
	$(BIN)/python -m tests.world.mutants

wheel: setup ## Build what pip installs, into dist/; nothing is fetched
	$(BIN)/python -m hatchling build --target wheel

format: setup ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## Write the generated pages of docs/ again
	$(BIN)/python scripts/generate_docs.py

lock: ## Resolve the newest versions into requirements.lock (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --upgrade \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean: ## Remove .venv and everything that tools leave behind
	rm -rf $(VENV) .venv-* .wine build dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
