# Each target sets up what it needs. Running one again installs nothing twice.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-fast fuzz notebook lint format package-check clean
.DEFAULT_GOAL := quickstart

quickstart: .venv/installed  ## set up, train the quick study on bundled data, write its report
	$(BIN)/depthbench run --depths 20,56,110

test: .venv/installed-dev  ## set up, run the tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: .venv/installed-dev  ## set up, run the tests that are not marked slow
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

fuzz: .venv/installed-dev  ## set up, test thousands of damaged and odd inputs
	$(BIN)/python -m pytest -n 3 tests/fuzz --hypothesis-profile=long

notebook: .venv/installed-dev  ## set up, execute the tutorial in build/notebook
	mkdir -p build/notebook
	cp studies/tutorial.ipynb build/notebook
	cd build/notebook && PATH="$(CURDIR)/$(BIN):$$PATH" jupyter execute --inplace tutorial.ipynb

lint: .venv/installed-dev  ## set up, check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev  ## set up, fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

package-check: .venv/installed-dev  ## set up, check that the wheel works without the checkout
	$(BIN)/python .ci/package_check.py

clean:  ## remove the environment; results stay
	rm -rf .venv

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "depthbench needs Python 3.11 or newer: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/made pyproject.toml constraints.txt
	@echo "installing depthbench and its dependencies (about 6 GB with torch's GPU libraries; this takes minutes)"
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/made pyproject.toml constraints.txt
	@echo "installing depthbench and the dependencies of its tests (about 6 GB with torch's GPU libraries; this takes minutes)"
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/installed
