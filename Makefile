# make demo [FRAMEWORK=sklearn|pytorch|tensorflow|xgboost|lightgbm]   train, release, promote
# make test                                                           every extra, all tests
# make test-quick                                                     no server, no release, no catalogue
# make lint                                                           style, types, and who may import whom
# make docs                                                           the documentation site, into site/
# make fuzz [SECONDS=300]                                             each reader of foreign files
PYTHON ?= python3
VENV ?= .venv
FRAMEWORK ?= sklearn
SECONDS ?= 300
BIN := $(VENV)/bin
# One more than there are cores, up to four: many tests wait for what they started.
PROCESSES := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores + 1 : 4)))
EXTRA := $(if $(filter pytorch,$(FRAMEWORK)),torch,$(FRAMEWORK))
FRAMEWORKS := sklearn pytorch tensorflow xgboost lightgbm
PACKAGING := setup.cfg pyproject.toml constraints.txt
# Not compiled: Python compiles what is imported, a small part of it, at the first import.
PIP_OPTIONS := --quiet --disable-pip-version-check --no-compile

.PHONY: help demo test test-quick sweep fuzz lint docs bench clean check-framework
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: check-framework $(VENV)/.installed-$(EXTRA)
	$(BIN)/python -m examples.demo --framework $(FRAMEWORK)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(PROCESSES) --dist loadfile \
	  --no-loadscope-reorder

# Without the frameworks, all of which are the catalogue: their imports alone take long.
test-quick: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "(unit or process) and not slow" --ignore=tests/frameworks \
	  --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

sweep: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.installed-test
	for reader in onnx mlmodel evidence npz npy csv parquet yaml json; do \
	  $(BIN)/python -m tests.fuzzing $$reader -max_total_time=$(SECONDS) || exit 1; done

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy


docs: $(VENV)/.installed-test $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed-test
	$(BIN)/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.release_cost
	$(BIN)/python -m benchmarks.parity_mutations
	$(BIN)/python -m benchmarks.parity_large
	$(BIN)/python -m benchmarks.latency_verdicts
	$(BIN)/python -m benchmarks.scoring_cost
	$(BIN)/python -m benchmarks.targets

clean:
	rm -rf $(VENV) build *.egg-info demo-*

check-framework:
	@case " $(FRAMEWORKS) " in *" $(FRAMEWORK) "*) ;; *) \
	  echo "FRAMEWORK=$(FRAMEWORK) is unknown; expected one of: $(FRAMEWORKS)"; exit 2;; esac

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version); set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-test: $(VENV)/bin/python $(PACKAGING)
	$(BIN)/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.installed-%: $(VENV)/bin/python $(PACKAGING)
	$(BIN)/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e ".[$*,demo]"
	@touch $@
