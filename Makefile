# Two commands: `make demo` runs the main job, `make test` the tests; each sets itself up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-all lint validate clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY) lint
	$(PYTEST)

test-all: $(READY) lint
	$(PYTEST) -m "slow or not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

validate: $(READY)
	$(BIN)/wgf validate

$(READY): pyproject.toml setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
