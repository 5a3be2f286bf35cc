# All targets use .venv, which is created from setup.cfg.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all docs notebook bench fuzz faults mutations lint lock audit sbom clean

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

# Plants faults in a copy of the code, each of which a named test must notice.
mutations: .venv/installed
	$(BIN)/python -m tests.faults.mutations $(MUTATIONS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Locks the versions and hashes of all packages that the tests need.
lock: .venv-tools/installed
	echo "backports.strenum<1.3" | .venv-tools/bin/uv pip compile setup.cfg --extra dev \
	    --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
	    --upgrade --constraint - --custom-compile-command "make lock" \
	    --output-file requirements.lock

# Looks the locked packages up in PyPI's database of vulnerabilities.
audit: .venv-tools/installed
	.venv-tools/bin/pip-audit --disable-pip --requirement requirements.lock

# Writes the installed packages as a bill of materials, in CycloneDX's format.
sbom: .venv/installed .venv-tools/installed
	mkdir -p build
	.venv-tools/bin/cyclonedx-py environment .venv --output-file build/sbom.json

.venv/installed: setup.cfg pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

.venv-tools/installed:
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/pip install --quiet "uv>=0.13,<0.14" "pip-audit>=2.10,<3" \
	    "cyclonedx-bom>=7.5,<8"
	touch $@

clean:
	rm -rf .venv .venv-tools build site *.egg-info
