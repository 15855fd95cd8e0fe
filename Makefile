# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer: each makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Small networks run faster in two processes of one thread than in one process of two.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: env demo test test-fast lint types imports docs bench lock clean

env: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,docs,lint]'
	@touch $@

demo: env
	$(BIN)/weightscape run digits-transfer

test: env
	$(PYTEST)

test-fast: env
	$(PYTEST) -m 'not slow'

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env
	$(BIN)/mypy

imports: env
	$(BIN)/lint-imports

docs: env
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: env
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# Rewrite the lock of operation versions and defaults, after a version was raised or an operation added.
lock: env
	$(BIN)/python -m weightscape.studies.lock

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
