# make label                              label the two demonstration pictures and show the result
# make label SOURCE=~/Photos TO=~/labels  label your own
# make quick, make test, make lint, make help   see `help`
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

# Files of tests/unit that take a second or two, at least one of each folder; tests/integration/test_contributing.py checks that.
# None starts a server. When one grows slow, take another of its folder.
QUICK := $(addprefix tests/unit/,$(addsuffix .py,benchmarks/test_first_commands \
	$(addprefix fer_core/,test_json_reader test_labels test_quality_thresholds test_validation \
		align/test_aligner api/test_image_input collection/test_shard_plan collection/test_listfile_fuzz commit/test_late_writer commit/test_publish \
		decode/test_header_bounds decode/test_decode_reduced detect/test_detect_choice detect/test_detect_protocol \
		detect/builtin/test_refinement erasure/test_places evaluation/test_evaluate evaluation/plots/test_robustness export/test_reader_files \
		faceset/test_importers faceset/test_framing gallery/test_gallery gpu/test_gpu_places losses/test_loss_center_cosine \
		losses/test_loss_config losses/test_loss_cross_entropy models/test_network models/test_review_thresholds outputs/test_registry \
		monitoring/test_drift pipeline/test_worker_models planning/test_cost_model predict/test_fusion query/test_session \
		review/test_review_attach review/test_review_corrections storage/test_file_mode storage/test_spill \
		tables/test_builder tables/test_data_dictionary training/test_config training/test_promotion_gate) \
	$(addprefix flows/,test_freshness_check cli/test_stage_progress server/test_guard) \
	$(addprefix tasks/,test_quarantine_share artifacts/test_markdown clusters/test_cluster_form execution/test_signals)))

export DO_NOT_TRACK := 1
export ORT_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help label quick test test-long lint format site docs lock audit clean

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

quick: $(VENV)/dev.stamp ## some tests of every folder, under a minute on two cores
	@$(VENV)/bin/python -m pytest -q $(EACH_CORE) $(QUICK)

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

site: $(VENV)/docs.stamp ## build the documentation site into build/site; nothing is fetched
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html; its search needs a server: $(VENV)/bin/python -m http.server --bind 127.0.0.1 --directory build/site"

docs: $(VENV)/runtime.stamp ## write docs/reference/data-dictionary.md from the schemas
	$(VENV)/bin/python -P -m fer_core.tables.data_dictionary docs/reference/data-dictionary.md

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

$(VENV)/docs.stamp: $(VENV)/runtime.stamp locks/docs.txt
	@echo "Adding the tools of the documentation..."
	@$(LOCKED) locks/docs.txt
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp locks/dev.txt locks/docs.txt
	@echo "Adding the development tools..."
	@$(LOCKED) locks/dev.txt --requirement locks/docs.txt
	@touch $@
