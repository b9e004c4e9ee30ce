# Everything runs from here; each target installs what it needs into .venv and node_modules once.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3.14 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done)
# VENV=.venv-3.13 PYTHON=python3.13 installs and runs beside the usual environment
VENV ?= .venv
PY := $(VENV)/bin/python
CODE := function_app.py shared training local tests benchmarks
DATA ?=
ZONE ?=
export PYTHONUTF8 := 1
unexport PYTHONDONTWRITEBYTECODE # tests and demo start many processes: each would compile every module anew

.DEFAULT_GOAL := all
.PHONY: all demo up quick unit test contract soak simulate simulate-planted check format bench register func clean install
# two `make` at once take turns to install; an environment without .done, or whose Python is gone, is made anew
TURN := $(if $(shell command -v flock),flock Makefile) $(MAKE) --no-print-directory MINE=1
$(shell test ! -e $(VENV) || $(PY) -c '' 2>/dev/null || rm -f $(VENV)/.done)

all: check test ## checks, then tests

install: $(VENV)/.done node_modules/.done ## everything that the other targets need

$(VENV)/.done: requirements.txt requirements-dev.txt training/requirements.txt
ifndef MINE
	+@$(TURN) $@
else
	@test -n "$(PYTHON)" || { echo "AirLoop needs Python 3.11, 3.12, 3.13 or 3.14; none was found (set PYTHON=...)"; exit 1; }
	@echo "installing Python packages into $(VENV) (once, about a minute) ..."
	@test -e $@ || rm -rf $(VENV)
	@rm -f $@
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --disable-pip-version-check --progress-bar on -q -r requirements-dev.txt
	@touch $@
endif

node_modules/.done: package.json package-lock.json
ifndef MINE
	+@$(TURN) $@
else
	@command -v node >/dev/null || { echo "AirLoop's local run needs Node 20 or newer for Azurite; node was not found"; exit 1; }
	@echo "installing Azurite into node_modules (once, about half a minute) ..."
	@rm -rf node_modules
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@
endif

demo: install ## the whole loop on this machine: make demo [DATA=files, a folder or a pattern] [ZONE=zone]
	@$(PY) -m local demo $(if $(DATA),--data "$(DATA)") $(if $(ZONE),--zone "$(ZONE)")

up: install ## Azurite, the Event Hubs endpoint and the trigger host, until Ctrl-C
	@$(PY) -m local up

quick: $(VENV)/.done ## checks, doctests and the unit tests that are not slow
	$(MAKE) -j2 check unit

unit: $(VENV)/.done
	$(PY) -m pytest -q -n 2 -m "not slow" tests/unit shared training local

test: install ## all tests
	$(PY) -m pytest -n auto

contract: install ## unit and contract tests, and those of the trigger host: what another Python may change
	$(PY) -m pytest -n auto tests/unit shared training local tests/contract tests/e2e/host

soak: install ## hundreds of killed processes; takes long
	$(PY) -m pytest tests/soak

simulate: $(VENV)/.done ## the application in a seeded world: make simulate SEEDS=n [SEED=s] [KIND=stream|loop|whole]
	@$(PY) -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(if $(KIND),--kind $(KIND))

simulate-planted: $(VENV)/.done ## show that the simulation notices planted bugs: half an hour, or one in a minute: [BUG=words of its name]
	@$(PY) -m tests.simulation --planted "$(BUG)" $(if $(SEED),--seed $(SEED))

check: $(VENV)/.done ## format, lint, types, import rules
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m ruff check $(CODE)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m pytest -q tests/unit/test_architecture.py

format: $(VENV)/.done ## format, and mend what can be mended
	$(PY) -m ruff check --fix-only -q $(CODE)
	$(PY) -m ruff format $(CODE)

register: install ## enter training component and environment in an Azure ML workspace once
	@$(PY) -m training.register --subscription "$(SUBSCRIPTION)" --resource-group "$(GROUP)" --workspace "$(WORKSPACE)"

bench: install ## speed, side by side with the alternatives
	$(PY) -m benchmarks

func: install ## the same app under `func start` (needs Azure Functions Core Tools)
	@$(PY) -m local func

clean: ## remove what the local stack and the demo left behind
	rm -rf .airloop build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*/*' -not -path './node_modules/*' -prune -exec rm -rf {} +
