# Two commands matter to a newcomer: `make run` and `make test`. Both set everything up themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= python3.11
JOBS ?= 2

.PHONY: help setup run ui test test-exhaustive check format house bench gpu gpu-wheels results clean

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(READY) ## virtual environment with the pinned packages, and a Java for Spark

$(READY): pyproject.toml constraints.txt infra/setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) bash infra/setup.sh
	@touch $@

run: $(READY) ## the whole daily chain on real data, for two days (MODEL=sasrec, ARGS="--day …")
	$(BIN)/sidereal run $(if $(MODEL),--model $(MODEL)) $(ARGS)

ui: $(READY) ## serve the Airflow and MLflow UIs over the last run's state
	$(BIN)/sidereal ui

# A core a worker.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test: $(READY) ## the tests of every outcome (ARGS="tests/training -k trie")
	$(PYTEST) -m "not exhaustive" $(ARGS)

test-exhaustive: $(READY) ## the rest: more inputs of known outcomes, whole days compared
	$(PYTEST) -m exhaustive $(ARGS)

check: $(READY) ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

house: $(READY) ## sizes, import circles and densities of the code and the documents: a mirror
	$(BIN)/python infra/house.py

format: $(READY) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## ours against the peers on the same work; writes var/bench.json
	OMP_WAIT_POLICY=active $(BIN)/sidereal bench $(ARGS)  # on an idle machine

# Needs nothing of `setup`: a bare machine has a Python with torch, and the wheels that were carried.
gpu: ## what a GPU has to show, on a bare machine; writes gpu.json to $OUT, else var/gpu
	bash infra/gpu.sh $(ARGS)

GPU_PYTHON_VERSION ?= 3.12
gpu-wheels: ## where there is a network: what `make gpu` needs beside torch and numpy, into .wheels
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --constraint constraints.txt \
	  --python-version $(GPU_PYTHON_VERSION) --implementation cp \
	  --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
	  --dest .wheels pyarrow safetensors annotated-types

results: $(READY) ## RESULTS.md of results/*.json (RUN=var/runs/PRESET/DAY: of that day, too)
	$(BIN)/python -m training.experiments.pages $(RUN)

clean: ## remove the run state, not the environment
	rm -rf var .pytest_cache .mypy_cache .ruff_cache
