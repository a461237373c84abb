# make setup | cuda | tpu | quickstart | test | test-slow | check | docs | calibration | backtest | truths; everything lives in .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup cuda tpu quickstart test test-slow check docs format calibration backtest truths lock audit clean

setup: $(READY)

cuda tpu: $(READY)
	@$(PYTHON) .ci/setup.py $@

quickstart: $(READY)
	$(BIN)/scaling quickstart

# Whatever the environment says, compiled modules are kept: tests start many processes, which would each compile them.
test test-slow: export PYTHONDONTWRITEBYTECODE =

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

# requirements.lock is everything but the drivers of chips; those, alone, are in the two others; SkyPilot's are for .ci/run.
COMPILE := uv pip compile --generate-hashes --no-header --no-annotate --python-version 3.11
BESIDE := -c requirements.lock $$(grep -o '^[a-z0-9-]*' requirements.lock | sort -u | sed 's/^/--no-emit-package /')
lock:
	$(COMPILE) --universal --extra dev pyproject.toml -o requirements.lock
	echo 'jax[cuda13]' | $(COMPILE) --universal - $(BESIDE) -o requirements-cuda.lock
	echo 'jax[tpu]' | $(COMPILE) --universal - $(BESIDE) -o requirements-tpu.lock
	echo 'skypilot==0.14.0' | $(COMPILE) --python-platform linux - -o .ci/skypilot.txt

# What is known against the locked packages; needs uv and a registry that has advisories.
audit:
	for lock in requirements*.lock; do uvx pip-audit --disable-pip --no-deps --requirement $$lock || exit 1; done

clean:
	rm -rf .venv .venv.lock .venv.chips
