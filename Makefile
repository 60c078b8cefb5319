# `make demo` and `make test` each set everything up on a fresh machine, as root or not.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check setup bench clean

demo: setup
	$(BIN)/vivace run recipes/demo.toml

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every script, one after the other; its rows in build/bench/NAME.json.
bench: setup
	@mkdir -p build/bench
	@set -e; for script in $(sort $(filter-out benchmarks/rows.py,$(wildcard benchmarks/*.py))); do \
	  echo "$$script"; $(BIN)/python $$script --json build/bench/$$(basename $$script .py).json; done

setup: $(STAMP)

# bubblewrap is installed only where we may (root); elsewhere the Landlock fallback, or a line that says what to do.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Vivace needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 2; }
	@command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { apt-get install -y -qq bubblewrap || { apt-get update -qq && apt-get install -y -qq bubblewrap; }; } >/dev/null 2>&1; } || \
	  echo "bubblewrap is not here: the sandbox will use Landlock + seccomp (apt-get install bubblewrap for the better one)"
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): some minutes the first time, most of them for PyTorch"
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) runs build src/*.egg-info
