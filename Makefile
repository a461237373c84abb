# make quickstart | test | test-slow | check | calibration; everything lives in .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: quickstart test test-slow check format calibration lock clean

quickstart: $(READY)
	$(BIN)/scaling quickstart

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

calibration: $(READY)
	$(BIN)/python benchmarks/calibration.py

# The lock holds hashes and names no index. Modules are byte-compiled: importing jax takes three times as long otherwise.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("scaling needs Python 3.11 or newer, found %d.%d; use make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	@rm -rf .venv
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --python "$$(command -v $(PYTHON))" .venv && \
	  uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock; \
	fi
	@if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

lock:
	uv pip compile --universal --generate-hashes --extra dev --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.lock

clean:
	rm -rf .venv
