# All targets use .venv, which is created from setup.cfg.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all docs notebook bench fuzz faults lint clean

demo: .venv/installed
	$(BIN)/python scripts/fit.py --output_dir runs/digits --resume
	$(BIN)/python -m ram_tf demo

# Runs three test files at a time, because small models do not keep a core busy.
test: lint
	$(BIN)/python -m pytest -m "not slow" --numprocesses 3 --dist loadfile

# Runs slow tests too, and those on the photographs in ../shared if they exist.
test-all: lint
	$(BIN)/python -m pytest

# Writes the site of the documentation to site/; a warning is an error.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Runs the notebook as a reader would, cell by cell.
notebook: .venv/installed-docs
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 docs/first_hour.ipynb

# Measures speed as ratios (benchmarks/results.json); needs an idle machine.
bench: .venv/installed
	$(BIN)/python -m benchmarks.run

# Fuzzes everything that reads files and answers; takes about an hour.
fuzz: .venv/installed
	$(BIN)/python -m fuzz.run $(FUZZ)

# Tests kills, full disks, changed files and more; some need root and faketime.
faults: .venv/installed
	$(BIN)/python -m tests.faults.run $(FAULTS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

clean:
	rm -rf .venv build site *.egg-info
