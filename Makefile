# `make` alone lists what there is. All needs Python 3.11 or newer; the virtual environment is made on first use.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
BENCHMARKS = $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))

.PHONY: help demo test check bench screenshots recordings pictures readme clean servers

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo  ## a living cache on this machine, and the dashboard on it; q leaves and ends all
	@exec $(BIN)/cachetui demo

test: servers $(VENV)/.dev  ## the whole test suite, on real servers (installs them where it may)
	@echo "Running the tests"
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal

check: $(VENV)/.dev  ## the quick checks: format, lint, types, import layers
	@echo "Checking format, lint, types and import layers"
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q tests/unit/test_layers.py

bench: $(VENV)/.dev  ## the benchmarks, each figure beside its budget
	@for file in $(BENCHMARKS); do $(BIN)/python "$$file"; done

screenshots: $(VENV)/.dev  ## the pictures in screenshots/, from the real demo
	@echo "Making screenshots/ from the demo"
	@$(BIN)/python screenshots/make.py

recordings: $(VENV)/.dev  ## the recordings in tests/replies/, from the real demo
	@echo "Recording the demo to tests/replies/"
	@$(BIN)/python tests/replies/make.py

pictures: $(VENV)/.dev  ## what the picture tests expect, from those recordings
	@CACHETUI_PICTURES=write $(BIN)/python -m pytest -q tests/ui/test_pictures.py

readme: $(VENV)/.dev  ## the README's table of presses, from the command table
	@$(BIN)/python -m cachetui.ui.commands

clean:  ## caches and builds away (.venv stays)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis snapshot_report.html *.egg-info
	@find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

servers:
	@.ci/servers

# The dev extra contains the demo's.
$(VENV)/.dev: EXTRA := dev
$(VENV)/.demo: EXTRA := demo
$(VENV)/.dev $(VENV)/.demo: pyproject.toml
	@.ci/venv $(VENV) $(EXTRA)
	@touch $@ $(if $(filter dev,$(EXTRA)),$(VENV)/.demo)
