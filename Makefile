# make demo           set up, then run the quickstart on the embedded model and write a page that replays it
# make test           set up, then lint, type-check and run every test
# make lab            set up, then open the quickstart in JupyterLab
# make bench          set up, then time tokens, explanations, layers, the graph, labels and frames against their references
# make screenshots    set up, then make the README's pictures anew
# make lint           ruff, pyright, tsc and biome

PYTHON ?= python3
BIN := .venv/bin
STATIC := axon_widget/static/widget.js
SETUP := .venv/.installed
DEMO := demo

# Where pip finds a CPU build of the pinned torch it takes that; elsewhere the constraint still holds.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint tests/constraints.txt

.PHONY: demo test test-view lab bench screenshots lint lint-python lint-view check-tools chromium clean

demo: $(SETUP) $(STATIC)
	$(BIN)/python -m notebooks.run notebooks/quickstart.ipynb $(DEMO)

test: $(SETUP) $(STATIC) chromium
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a == 20 && b < 19 ? 1 : 0)' || \
	  { echo "The view's tests need Node.js 20.19 or newer."; exit 1; }
	$(MAKE) -j 2 lint test-view
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/unit
	$(BIN)/python -m pytest tests/kernel tests/browser

lab: $(SETUP) $(STATIC)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/quickstart.ipynb

bench: $(SETUP)
	$(BIN)/python -m tests.benchmarks.token_loop
	$(BIN)/python -m tests.benchmarks.attribution
	$(BIN)/python -m tests.benchmarks.layers
	$(BIN)/python -m tests.benchmarks.graph
	$(BIN)/python -m tests.benchmarks.chance
	$(BIN)/python -m tests.benchmarks.labels
	$(BIN)/python -m tests.benchmarks.frames

screenshots: $(SETUP) $(STATIC) chromium
	$(BIN)/python -m pytest tests/browser/pictures.py

lint: lint-python lint-view

lint-python: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

lint-view: $(STATIC)
	npm --prefix js run --silent check

test-view: $(STATIC)
	npm --prefix js test --silent

check-tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
	  { echo "Python 3.10 or newer is needed: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is needed: sudo apt-get install python3-venv"; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || \
	  { echo "Node.js 20 or newer is needed: https://nodejs.org or your distribution's nodejs package"; exit 1; }
	@npm --version >/dev/null 2>&1 || { echo "npm is needed: it comes with Node.js, or sudo apt-get install npm"; exit 1; }

$(STATIC): $(wildcard js/*.json js/*.mjs js/src/* js/stubs/*) | check-tools
	cd js && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

$(SETUP): pyproject.toml tests/constraints.txt | $(STATIC) check-tools
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[test]'
	@touch $@

chromium:
	@sh tests/browser/chromium.sh

clean:
	rm -rf .venv js/node_modules axon_widget/static dist $(DEMO)
