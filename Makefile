# `make demo` and `make test` need nothing but Python 3.11 or later, git and make.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install demo test test-slow lint notebooks docs lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: .venv/installed ## create .venv with the locked dependencies

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	cp src/ai4diag/jupyter/config/jupyter_server_config.d/ai4diag.json .venv/etc/jupyter/jupyter_server_config.d
	touch $@

demo: install ## two pipelines end to end, on embedded data
	ai4diag demo

# One process per core, each on one thread: threads of several processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n logical --dist worksteal

test: install ## all tests but the slow ones
	$(PYTEST) -m "not slow"

test-slow: install ## every test
	$(PYTEST)

lint: install ## style, layers, types
	ruff check src tests benchmarks curriculum docs
	ruff format --check src tests benchmarks
	lint-imports
	mypy

notebooks: install ## build the lessons from curriculum/
	ai4diag course build

docs: install ## build docs/ and the lessons as pages in build/docs, without a network
	sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs

lock: ## write constraints.txt anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  --constraint lock.in pyproject.toml --output-file constraints.txt

clean: ## remove what runs wrote; raw data, tracked runs and committed estimates stay
	git clean -fdX pipelines
