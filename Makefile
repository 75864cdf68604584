# make install | translation | demo | gpu-check | test | test-full | test-oldest | mutations | lint | docs. Each target does its own
# set-up in .venv (test-oldest in .venv-oldest), nothing global.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRANSLATION := $(VENV)/.translation
OLDEST := .venv-oldest
OLDEST_STAMP := $(OLDEST)/.installed
# The oldest releases have builds for Python 3.10 to 3.12.
OLDEST_PYTHON ?= $(PYTHON)
SEED ?= 0
# Processes of the fast test tier; each computes with one thread.
TEST_PROCESSES ?= 2

# What test-oldest runs.
TESTS ?= tests

.PHONY: install translation demo gpu-check test test-full test-oldest mutations lint docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[dev]'
	touch $@

translation: $(TRANSLATION)

# MMagic's own dependency list brings three OpenCV distributions that overwrite each other.
$(TRANSLATION): $(STAMP)
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[dev,translation]'
	$(BIN)/python -m pip install --progress-bar off --no-deps mmagic==1.2.0
	touch $@

demo: $(STAMP)
	$(BIN)/python tools/demo.py --seed $(SEED)

# Goes on in parts of eight minutes until all is measured.
gpu-check: $(STAMP)
	until $(BIN)/python tools/analysis_tools/gpu_check.py --page docs/costs.md; do test $$? -eq 3 || exit 1; done

test: $(TRANSLATION) lint
	$(BIN)/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile

test-full: $(TRANSLATION)
	$(BIN)/python -m pytest

test-oldest: $(OLDEST_STAMP)
	$(OLDEST)/bin/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile $(TESTS)

$(OLDEST_STAMP): pyproject.toml constraints-oldest.txt
	test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --progress-bar off -c constraints-oldest.txt -e '.[dev,translation]'
	$(OLDEST)/bin/python -m pip install --progress-bar off --no-deps mmagic==1.2.0
	touch $@

mutations: $(TRANSLATION)
	$(BIN)/python tests/mutations/run.py

lint: $(TRANSLATION)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory docs

# A warning of Sphinx is an error. What imported packages warn about is none of its own.
docs: $(TRANSLATION)
	$(BIN)/python -W ignore -m sphinx -q -W --keep-going -b html docs docs/_build

clean:
	rm -rf $(VENV) $(OLDEST) build docs/_build docs/api work_dirs/demo
