# make quickstart | test | test-slow | check | docs | calibration | backtest | truths; everything lives in .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: quickstart test test-slow check docs format calibration backtest truths lock clean

quickstart: $(READY)
	$(BIN)/scaling quickstart

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python docs/build.py

docs: $(READY)
	$(BIN)/python docs/build.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

calibration: $(READY)
	$(BIN)/python benchmarks/calibration.py

backtest: $(READY)
	$(BIN)/python -m benchmarks.backtest $(or $(RUNS),../shared/reference_runs)

truths: $(READY)
	$(BIN)/python benchmarks/truths.py

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) .ci/setup.py

lock:
	uv pip compile --universal --generate-hashes --extra dev --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .venv.lock
