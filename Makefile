# Everything runs from .venv. `make venv` creates it with Python 3.11 or newer, venv, pip and the
# package registry.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# The system's Python first: distributions build theirs with profile-guided optimization, which
# saves about 6 % of CPU (benchmarks/FINDINGS.md).
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	{ echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT := build/demo
ROUNDS ?= 50
SEED ?= 1
BENCH_ARGS ?=

.PHONY: help venv check format unit test tests-beside tests-real demo kill bench clean

help:  ## print this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

venv: $(STAMP)  ## create .venv with the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lockstep needs Python 3.11 or newer, with venv;" \
		"name it with PYTHON=...; found: $$(python3 --version 2>&1)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
		$(BIN)/python -m pip install --quiet -e '.[dev,bench]'
	touch $@

check: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## rewrite the code as ruff would have it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: $(STAMP)  ## the tests that start no server
	$(BIN)/python -m pytest -m "not real" -q

test: $(STAMP)  ## checks and all tests, those without servers beside those with
	@$(MAKE) --no-print-directory --jobs=2 tests-beside tests-real

# Tests on real servers mostly wait. So the other checks run beside them at a lower priority, and
# their output is printed in one piece.
tests-beside: $(STAMP)
	@mkdir -p build
	@nice -n 10 $(MAKE) --no-print-directory check unit >build/beside.log 2>&1; \
		found=$$?; cat build/beside.log; exit $$found

tests-real: $(STAMP)
	@$(BIN)/python -m pytest -m real

demo: $(STAMP)  ## the bundled example through an embedded cluster
	@rm -rf $(DEMO_OUT)
	$(BIN)/lockstep replay --creators examples/creators.csv --followers examples/followers.csv \
		--fills examples/fills.csv --prices examples/prices.csv --instruments examples/instruments.csv \
		--out $(DEMO_OUT)

kill: $(STAMP)  ## seeded rounds of kill -9 over all parts under load: ROUNDS, SEED
	$(BIN)/python -m tests.faults.kill --rounds $(ROUNDS) --seed $(SEED)

bench: $(STAMP)  ## the benchmark harness: BENCH_ARGS
	$(BIN)/lockstep bench $(BENCH_ARGS)

clean:  ## remove the environment and build output
	rm -rf $(VENV) build *.egg-info
