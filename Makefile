# make demo: the whole chain on the embedded model, without torch, ROS or a GPU.   make test: every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRAMES ?= 240
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -m "not slow and not engines" --durations=10
# Tests that talk over DDS, start processes that work together, or measure time: no other test runs beside them.
ALONE := test/ros test/standalone test/jobs test/cli/test_demo.py test/cli/test_segment_archives.py \
	test/evaluation/test_evaluate_workers.py test/sim/test_simulator.py test/training/test_devices.py

# Kills a run and continues it with a data loader's processes: in a process that has run other tests before it crashes.
FRESH := test/training/test_loop.py

.PHONY: demo test test-together test-alone test-slow test-engines lint style types format bench clean system

demo: $(VENV)/.demo
	$(BIN)/ovseg demo --frames $(FRAMES)

# The types are checked beside the tests that mostly wait. Everything runs, whatever fails.
test: style
	@failed=0; \
	$(MAKE) --no-print-directory test-together || failed=1; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 test-alone types || failed=1; \
	exit $$failed

test-together: $(VENV)/.test
	$(PYTEST) --numprocesses=$(WORKERS) --dist=worksteal $(ALONE:%=--ignore=%) --ignore=$(FRESH)

test-alone: $(VENV)/.test
	$(PYTEST) $(FRESH)
	$(PYTEST) $(ALONE)

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

test-engines: $(VENV)/.test
	$(BIN)/python -m pytest -m engines test/models/test_full_size.py

lint: style types

style: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	nice $(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.demo
	$(BIN)/ovseg bench --wire
	$(BIN)/ovseg bench

# What a bare Debian or Ubuntu lacks. Without the rights to install it the demo still runs, on its recorded drive.
system:
	@./.ci/system-packages

$(VENV)/bin/python: | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.demo: setup.py | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[sim]'
	@touch $@

$(VENV)/.test: setup.py | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[sim,train,models,words,cluster,dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build install log demo engines/*/ engines/.locks engines/.timings *.egg-info .mypy_cache .pytest_cache .ruff_cache
