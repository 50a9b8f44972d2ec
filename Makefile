# make demo: the whole chain on the embedded model, without torch, ROS or a GPU.   make test: every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRAMES ?= 240

.PHONY: demo test test-slow test-engines lint format bench clean system

demo: $(VENV)/.demo
	$(BIN)/ovseg demo --frames $(FRAMES)

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -m "not slow and not engines"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

test-engines: $(VENV)/.test
	$(BIN)/python -m pytest -m engines test/models/test_compile.py test/models/test_ebseg_engines.py test/models/test_esc_engines.py test/models/test_gkc.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
