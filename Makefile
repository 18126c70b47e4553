# Every target sets itself up in .venv; nothing has to be installed by hand but Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.complete
BENCH_SETUP := $(VENV)/.complete-bench

.PHONY: setup demo test lint format bench

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(SETUP)

demo: $(SETUP)
	$(BIN)/tlmed demo

test: $(SETUP)
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(SETUP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What docs/benchmarks.md reports, and the contract of the large networks; the real-data figures only where TLMED_DATA is
# set. About an hour and a half on two cores.
bench: $(BENCH_SETUP)
	$(BIN)/python -m pytest -m slow
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/endurance.py --kills 25 --stops 4
	$(BIN)/python benchmarks/faults.py
	for part in copies leakage 'shortcuts 10' 'scale 10000' 'scale 100000' 'clean 200'; do $(BIN)/python benchmarks/audit.py $$part || exit; done
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/seed_coverage.py
	$(BIN)/python benchmarks/fold_coverage.py
	$(BIN)/python benchmarks/composites.py
	for part in fixed folds refitted power; do $(BIN)/python benchmarks/verdicts.py $$part || exit; done
	$(BIN)/tlmed run recipes/demo-verdict.yaml
	$(BIN)/tlmed run recipes/demo-null.yaml
	test -z "$$TLMED_DATA" || $(BIN)/python benchmarks/prepare.py "$$TLMED_DATA/covid_ct/manifest.csv"
	test -z "$$TLMED_DATA" || $(BIN)/python benchmarks/training.py
	test -z "$$TLMED_DATA" || $(BIN)/python benchmarks/training.py --variants tlmed_resnet50 plain_resnet50
	test -z "$$TLMED_DATA" || $(BIN)/python benchmarks/probe.py
	test -z "$$TLMED_DATA" || $(BIN)/python benchmarks/audit.py real "$$TLMED_DATA"

$(BENCH_SETUP): $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	touch $(BENCH_SETUP)
