# Everything here sets itself up: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo
FAMILIES ?= runs/families
# One thread per core and no oversubscription when tests run side by side.
TEST_WORKERS ?= 2

.PHONY: help demo families test test-slow chaos chaos-sweeps lint docs bench bench-data observe-check image clean
help:
	@echo "make demo    make clips, train, generate, evaluate, write the report page (about five minutes on two cores)"
	@echo "make families  train and score every family's recipe, print the table (an afternoon on two cores)"
	@echo "make test    the tests (at most fifteen minutes on two cores)"
	@echo "make test-slow  the tests that take minutes each"
	@echo "make chaos   runs that lose workers, nodes, drivers, storage and disk, on a Ray cluster of several nodes (fifteen minutes)"
	@echo "make chaos-sweeps  the same for sweeps (ten minutes)"
	@echo "make lint    format, lint, type and spelling checks"
	@echo "make docs    the guides as a site in site/ (Python 3.11); broken links fail"
	@echo "make bench   benchmarks; each prints a ratio"
	@echo "make bench-data  clip readers beside torchcodec, decord, MosaicML Streaming, WebDataset"
	@echo "make observe-check  a real Prometheus beside a real run of two workers (prometheus needed)"
	@echo "make image   build the container image from a clean clone and train in it (docker needed)"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'vidgen needs Python 3.10 or newer, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	@touch $@

demo: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh $(DEMO) $(DEMO_FLAGS)

families: $(READY)
	$(BIN)/python examples/families.py $(FAMILIES) $(FAMILIES_FLAGS)

test: $(READY)
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist loadgroup -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow --timeout=3600 --ignore=tests/chaos

chaos: $(READY)
	$(BIN)/python -m pytest -q --durations=0 tests/chaos/test_chaos.py

chaos-sweeps: $(READY)
	$(BIN)/python -m pytest -q --durations=0 tests/chaos/test_sweep_chaos.py

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell README.md CONTRIBUTING.md docs vidgen helm/vidgen/README.md k8s/README.md examples

docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d site/.doctrees . site
	@echo "site/index.html"

bench: $(READY)
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

# Clip readers beside their peers; the first run makes 2 GB of videos. FOOTAGE=folder of real clips.
bench-data: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench-data]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'mosaicml-streaming>=0.11,<1'
	$(BIN)/python benchmarks/data/run.py $(if $(FOOTAGE),--footage $(FOOTAGE))
	$(BIN)/python benchmarks/data/pack_or_index.py $(if $(FOOTAGE),--footage $(FOOTAGE))
	$(BIN)/python benchmarks/data/manifest_rows.py

# Needs Debian's prometheus, which brings promtool.
observe-check: $(READY)
	@command -v prometheus promtool >/dev/null || { echo "prometheus is missing: apt-get install prometheus"; exit 1; }
	$(BIN)/python helm/generate.py --check
	$(BIN)/python -m pytest -q -s tests/observe/test_alerts.py tests/observe/test_dashboards.py tests/observe/test_live.py

image:
	@tests/image/build.sh

clean:
	rm -rf $(VENV) $(DEMO) site
