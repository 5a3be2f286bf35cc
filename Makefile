# Everything happens in .venv, which `make .venv` creates from setup.cfg.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all bench fuzz faults lint clean

demo: .venv/installed
	$(BIN)/python scripts/fit.py --output_dir runs/digits --resume

# Three files of tests at a time: a small model keeps one core busy, but not always.
test: lint
	$(BIN)/python -m pytest -m "not slow" --numprocesses 3 --dist loadfile

# Longer checks, and those on the real photographs of ../shared where they are.
test-all: lint
	$(BIN)/python -m pytest

# Speed as ratios, into benchmarks/results.json; wants an idle machine.
bench: .venv/installed
	$(BIN)/python -m benchmarks.run

# What nobody should send, to everything that reads files and answers; about an hour.
fuzz: .venv/installed
	$(BIN)/python -m fuzz.run $(FUZZ)

# Kills, full disks, changed files and the like; as root, with faketime, all of them.
faults: .venv/installed
	$(BIN)/python -m tests.faults.run $(FAULTS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv build *.egg-info
