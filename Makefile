# Two commands do everything on a machine that has Python 3.11 or later and make:
#   make degradation   virtual environment, installation, the study, its tables and figures (about 4 minutes, 2 cores)
#   make test          virtual environment, installation, lint, type check, tests (up to 6 minutes, 2 cores)
# The versions to install: constraints.txt, or constraints-newest.txt, which needs Python 3.12 or later and has a virtual
# environment of its own: make test CONSTRAINTS=constraints-newest.txt
CONSTRAINTS ?= constraints.txt
PYTHON ?= python3
VENV ?= .venv$(patsubst constraints%.txt,%,$(CONSTRAINTS))
RUNS ?= runs
JAX ?= jax

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
SETTINGS := setup.cfg pyproject.toml $(CONSTRAINTS)

.PHONY: degradation control reproduce-cifar10 figures docs test test-all lint types parity benchmark browser-test gpu-check \
  kill-test fault-test clean

degradation: $(VENV)/.main
	$(BIN)/python -m experiments.sweep digits-depth --runs $(RUNS) --jobs 2 $(OPTIONS)
	@$(BIN)/python -m experiments.report $(RUNS)/digits-depth

# Is it degradation, or only too little training? About 10 minutes more.
control: degradation
	$(BIN)/python -m experiments.sweep digits-depth-long --runs $(RUNS) --jobs 2
	@$(BIN)/python -m experiments.report $(RUNS)/digits-depth $(RUNS)/digits-depth-long

# The paper's recipe on the original CIFAR-10; for a GPU, with JAX='jax[cuda13]'. With DATA=cifar10.npz from a file of
# NumPy arrays, without it from TFDS, whose preparation installs TensorFlow. Cost: days, by
# experiments/studies/cifar10_depth.py; a part of it with OPTIONS='--seeds 0 --budget 3600'.
reproduce-cifar10: $(VENV)/.$(if $(DATA),main,prepare)
	$(PIP) '$(JAX)'
	$(if $(DATA),,$(BIN)/python -m experiments.prepare cifar10)
	$(BIN)/python -m experiments.sweep cifar10-depth --runs $(RUNS) \
	  $(if $(DATA),--data.source=npz --data.path='$(DATA)') $(OPTIONS)
	@$(BIN)/python -m experiments.report $(RUNS)/cifar10-depth

# Tables, numbers and pictures of README.md and docs/, made anew from experiments/records; about half a minute.
figures: $(VENV)/.main
	$(BIN)/python -m experiments.documents

# The documentation site, in site/: open site/index.html. A dead link is an error. About a minute.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "the site is in site/: open site/index.html"

test: lint types
	$(BIN)/python -m pytest -m 'not slow'

# The same, and the tests that take long.
test-all: lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.test
	$(BIN)/mypy

# Against PyTorch; apart from `make test`, so that nobody downloads PyTorch unasked.
parity: $(VENV)/.parity
	$(BIN)/python -m pytest tests/parity

# How fast, beside Flax and PyTorch; on a machine that does nothing else. More: make benchmark OPTIONS='--what compile'.
benchmark: $(VENV)/.parity
	$(BIN)/python -m experiments.benchmark $(OPTIONS)

# The report's page in Chromium: toggles, values under the pointer, links, no request to a host. Needs Debian's chromium
# and chromium-driver.
browser-test: $(VENV)/.browser
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	  { echo "error: chromium and chromedriver are needed: apt-get install chromium chromium-driver"; exit 1; }
	$(BIN)/python -m pytest --numprocesses=0 tests/browser

# What to run first on a new GPU: make gpu-check JAX='jax[cuda13]' OPTIONS='--seconds 150'. With PyTorch installed for the
# GPU in $(VENV), it takes part. On a CPU everything runs with tiny sizes, in a minute or two.
gpu-check: $(VENV)/.test
	$(PIP) '$(JAX)'
	$(BIN)/python -m experiments.gpu_check --out $(RUNS)/gpu-check.json $(OPTIONS)

# Kills four runs ten times each, and compares them with ones never killed; eight minutes. More: make kill-test KILLS=100.
KILLS ?= 10
kill-test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=0 tests/kill --kills=$(KILLS)

# Faults in runs over several processes; about half an hour. More: make fault-test FAULTS=100. Its record
# for docs/several-machines.md: OPTIONS=--faults-record=experiments/records/faults.json.
FAULTS ?= 30
fault-test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=0 tests/faults --faults=$(FAULTS) $(OPTIONS)

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or later is needed, $(PYTHON) is older; try make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.main: $(SETTINGS) | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(SETTINGS) | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.main

$(VENV)/.docs: $(SETTINGS) | $(BIN)/python
	$(PIP) --editable '.[docs]'
	@touch $@ $(VENV)/.main

$(VENV)/.prepare: $(SETTINGS) | $(BIN)/python
	$(PIP) --editable '.[prepare]'
	@touch $@ $(VENV)/.main

$(VENV)/.browser: $(SETTINGS) | $(BIN)/python
	$(PIP) --editable '.[test,browser]'
	@touch $@ $(VENV)/.main $(VENV)/.test

$(VENV)/.parity: $(SETTINGS) | $(BIN)/python
	$(PIP) --editable '.[test,parity]'
	@touch $@ $(VENV)/.main $(VENV)/.test
