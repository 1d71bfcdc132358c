# make label                              label the two demonstration pictures and show the result
# make label SOURCE=~/Photos TO=~/labels  label your own
# make test, make lint, make help         see `help`
SHELL := /bin/bash
.DEFAULT_GOAL := help

SOURCE ?= out/pictures
TO ?= out/labels
GALLERY ?= out/gallery.html
PICTURES ?= 24

VENV := .venv
# The first of these that really runs and is new enough; the lock was made with 3.11.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3 python,$(shell \
	$(name) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps
# Only releases that the locks name, only files whose digests they list, and no program of theirs runs to build them.
LOCKED := $(PIP) --require-hashes --only-binary :all: --requirement
# The one index that PyTorch is taken from; unless it is named, a wheel in a folder that pip knows (`find-links`) goes before pip's index.
TORCH_INDEX ?=

# Values with blanks reach the recipes whole through the environment; a tilde that the shell did not expand is expanded there.
export SOURCE TO GALLERY PICTURES
EXPAND := for name in SOURCE TO GALLERY; do case "$${!name}" in "~") printf -v $$name %s "$$HOME";; "~/"*) printf -v $$name %s "$$HOME/$${!name:2}";; esac; done

# A file's tests share what they start, so they stay together; files come in the order of tests/conftest.py.
# A process that crashes fails the run: with files kept together, the scheduler would wait for ever for the tests of a replacement.
EACH_CORE := --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

export DO_NOT_TRACK := 1
export ORT_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help label test test-long lint format docs lock audit clean

help: ## this list
	@echo "make label                               label two demonstration pictures and show the result"
	@echo "make label SOURCE=~/Photos TO=~/labels   label your own"
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | grep -v '^make label' | \
		while IFS='|' read -r name text; do printf '%-40s %s\n' "$$name" "$$text"; done

label: $(VENV)/runtime.stamp ## label SOURCE into TO, ask the tables one question, draw the gallery
	@set -e; $(EXPAND); \
	if [ "$$SOURCE" = out/pictures ]; then $(VENV)/bin/python -P -m flows.cli.demo pictures "$$SOURCE"; fi; \
	$(VENV)/bin/ferflow label "$$SOURCE" --to "$$TO"; \
	$(VENV)/bin/python -P -m flows.cli.demo query "$$TO"; \
	$(VENV)/bin/ferflow gallery "$$TO" --to "$$GALLERY" --png "$${GALLERY%.html}.png" --limit "$$PICTURES"

test: $(VENV)/dev.stamp ## the tests, on every core
	@$(VENV)/bin/python -m pytest $(EACH_CORE) --durations=15

test-long: $(VENV)/dev.stamp ## what `make test` leaves out: a team's server killed amid a night, `ferflow up`, two machines, the loop of corrections, a retraining in a browser, PostgreSQL, failing storage, a search for properties that are false
	@$(VENV)/bin/python -m pytest -m long $(EACH_CORE)
	@for round in 1 2 3; do $(VENV)/bin/python -m pytest -m hypothesis --hypothesis-profile search $(EACH_CORE) || exit; done

lint: $(VENV)/dev.stamp ## style, types and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict
	$(VENV)/bin/lint-imports

format: $(VENV)/dev.stamp ## write the code in the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/runtime.stamp ## write docs/data-dictionary.md from the schemas
	$(VENV)/bin/python -P -m fer_core.tables.data_dictionary docs/data-dictionary.md

lock: $(VENV)/dev.stamp ## write constraints.txt and locks/ from pyproject.toml; UPGRADE=1 takes new releases
	$(VENV)/bin/python deployments/lock.py $(if $(UPGRADE),--upgrade)

audit: $(VENV)/dev.stamp ## ask the database of advisories about every locked release
	@if $(VENV)/bin/python -c "import urllib.request as ask; ask.urlopen('https://pypi.org/pypi/pip/25.3/json', timeout=30)" 2>/dev/null; then \
		$(VENV)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes $(foreach file,constraints.txt $(wildcard locks/*.txt),--requirement $(file)); \
	else echo "the database of advisories does not answer: nothing was audited"; fi

clean: ## remove the environment and everything that was made in out/
	rm -rf $(VENV) out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/runtime.stamp: pyproject.toml constraints.txt locks/torch.txt locks/cuda.txt
	@if [ -z "$(PYTHON)" ]; then echo "ferflow needs Python 3.11 or newer with venv; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "Setting up $(VENV) with $(PYTHON) (once, a few minutes)..."
	@$(PYTHON) -m venv $(VENV)
	@$(LOCKED) constraints.txt
	@if [ -n "$(TORCH_INDEX)" ]; then $(LOCKED) locks/torch.txt --index-url "$(TORCH_INDEX)"; else \
		$(LOCKED) locks/torch.txt --no-index 2>/dev/null || $(LOCKED) locks/torch.txt; fi
	@if grep -qE '^Requires-Dist: (nvidia|cuda)' $(VENV)/lib/python*/site-packages/torch-*.dist-info/METADATA; then $(LOCKED) locks/cuda.txt; fi
	@$(PIP) --no-build-isolation --editable .
	@$(VENV)/bin/python -m pip check --disable-pip-version-check >/dev/null || $(VENV)/bin/python -m pip check --disable-pip-version-check
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp locks/dev.txt
	@echo "Adding the development tools..."
	@$(LOCKED) locks/dev.txt
	@touch $@
