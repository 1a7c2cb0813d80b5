# The two commands of the README are `make demo` and `make test`; both set up what they need in .venv.
.DEFAULT_GOAL := help
.PHONY: help demo test lint types test-fast test-real test-stores test-docker test-faults simulate mutants bench bench-peers clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SEEDS ?= 500

help:
	@echo "make demo         a real flow, from server to executor, and its history"
	@echo "make test         the fast lane: lint, types, tests"
	@echo "make test-real    the lane with real processes: agents, runners, servers over loopback"
	@echo "make test-stores  the engine's tests once more, with their logs in other stores than memory"
	@echo "make test-docker  the lane with a Docker engine of its own: containers as users have them"
	@echo "make test-faults  the lane that kills them"
	@echo "make simulate     many seeds of the deterministic simulation (SEEDS=$(SEEDS))"
	@echo "make mutants      plant bugs in copies of the product, and see the tests find each of them"
	@echo "make bench        what a step, a fan-out and a start cost here, beside the peers that are installed"
	@echo "make bench-peers  Prefect, DBOS and Restate, each into an environment of its own in .bench-peers"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Playhead needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing Playhead and what it needs into .venv (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python docs/examples/demo.py

test: lint types test-fast

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright

test-fast: $(READY)
	$(BIN)/pytest -n 2 -m "not real and not faults and not simulation and not docker"

test-real: $(READY)
	$(BIN)/pytest -n 2 --dist loadscope -m "real" --timeout 240

test-stores: $(READY)
	@$(BIN)/python -m tests.on_stores

test-docker: $(READY)
	$(BIN)/pytest -m "docker" tests/docker --timeout 240

test-faults: $(READY)
	$(BIN)/pytest -n 2 -m "faults" --timeout 180

simulate: $(READY)
	$(BIN)/pytest -m "simulation" tests/simulation --seeds $(SEEDS) --timeout 0

mutants: $(READY)
	@$(BIN)/python -m tests.mutants

bench: $(READY)
	@$(BIN)/python -m compileall -q engine adapters  # as an installed package is; PYTHONDONTWRITEBYTECODE would keep it from being so
	$(BIN)/python -m benchmarks

bench-peers: $(READY)
	@$(BIN)/python -m benchmarks.peers

clean:
	rm -rf .venv .bench-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis
