# Everything a person or the gate runs. `make help` lists it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
FLAIR_VENV := .venv-flair
EXTRAS := pipeline,dask,transformers,postgresql,s3,gs,words,onnx
CONSTRAINTS := constraints.txt
# Three test processes share two cores, for many tests wait for servers; each computes with one thread. A file stays with
# one, as its servers do; long files begin first (tests/conftest.py). The many processes read modules as bytecode.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo up down status join backup restore test test-fast test-portable test-slow test-flair lint types format bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/installed ## make or refresh .venv; does nothing when the pins have not changed

$(VENV)/installed: pyproject.toml setup.py $(CONSTRAINTS) $(wildcard charlm/native/*.cpp charlm/native/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "charlm needs Python 3.11 or later, found " + sys.version)'
	@echo "installing into $(VENV) (about 2 GB with the CPU build of torch, one to three minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) 'pip>=25.1'
	@$(BIN)/pip uninstall --yes -qq --disable-pip-version-check charlm # what charlm-pipeline was called in version 0.1
	@PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python deployments/pip_progress.py install --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$(EXTRAS)]' --group dev
	@$(BIN)/python -m charlm.native
	@touch $@

demo: install ## the whole pipeline on real text that every machine has, to a registered model
	@$(BIN)/charlm demo

up: install ## the service: Prefect and MLflow servers, workers, deployments; says where they listen
	@$(BIN)/charlm up

down: install ## stop what `make up` has started
	@$(BIN)/charlm down

status: install ## what of the service runs
	@$(BIN)/charlm status

join: install ## work for the service of another machine, by the command that `make up` prints there
	@$(BIN)/charlm worker

backup: install ## save the workspace and its databases, while the service runs: make backup TO=FOLDER
	@$(BIN)/charlm backup "$(TO)"

restore: install ## restore a backup, to a workspace that does not exist yet: make restore FROM=FOLDER
	@$(BIN)/charlm restore "$(FROM)"

test: install ## the whole test suite, without long fault tests
	$(PYTEST) -m "not slow and not flair"

test-fast: install ## tests that start no server, within minutes
	$(PYTEST) -m "not slow and not flair and not service"

# What a processor without AVX-512 and bf16 computes; where these variables mean nothing, it is the plain run.
test-portable: install ## the numeric tests as an older processor computes
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) -m "numeric and not slow and not flair and not service"

test-slow: install ## long fault and kill tests
	$(PYTEST) -m slow

test-flair: install $(FLAIR_VENV)/installed ## live comparisons with Flair, in its own environment
	CHARLM_FLAIR_PYTHON=$(FLAIR_VENV)/bin/python $(PYTEST) -m flair

# Flair and datasets 5 need different majors of huggingface-hub: they only exchange files.
$(FLAIR_VENV)/installed: tests/flair/requirements.txt
	@echo "installing Flair into $(FLAIR_VENV) ..."
	@test -x $(FLAIR_VENV)/bin/python || $(PYTHON) -m venv $(FLAIR_VENV)
	@$(FLAIR_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

lint: install ## style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install ## static types, strict
	$(BIN)/mypy

format: install ## put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install $(FLAIR_VENV)/installed ## the benchmarks, beside Flair's
	for script in text embedding training race; do \
		$(BIN)/python benchmarks/$$script.py --flair-python $(FLAIR_VENV)/bin/python || exit 1; \
	done

clean: ## remove environments and caches; the workspace with its models stays
	rm -rf $(VENV) $(FLAIR_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
