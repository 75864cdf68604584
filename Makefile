# make install | translation | demo | test | test-full | mutations | lint. Each target does its own set-up in .venv, nothing global.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRANSLATION := $(VENV)/.translation
SEED ?= 0
# Processes of the fast test tier; each computes with one thread.
TEST_PROCESSES ?= 2

.PHONY: install translation demo test test-full mutations lint clean

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

test: $(TRANSLATION) lint
	$(BIN)/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile

test-full: $(TRANSLATION)
	$(BIN)/python -m pytest

mutations: $(TRANSLATION)
	$(BIN)/python tests/mutations/run.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) work_dirs/demo
