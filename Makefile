# Two commands do everything on a fresh machine: make book, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GEOCLIP := build/peers/geoclip/model/weights/location_encoder_weights.pth

# Threads that wait do not spin: on a busy machine spinning makes training many times slower.
export OMP_WAIT_POLICY ?= PASSIVE
# The matrices of the probes are small: more threads of OpenBLAS only wait for each other.
export OPENBLAS_NUM_THREADS ?= 1
# Tests run at a time; each uses one thread.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help book test test-long notebooks lint clean sample browser peers results pretrained stamp colab

help:  ## Show this list
	@echo "make <target>, with PYTHON=$(PYTHON) for a new environment in $(VENV)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

$(STAMP): requirements.txt pyproject.toml
	@echo "== Installing into $(VENV) (2 GB, some minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

book: $(STAMP)  ## Run every notebook on the embedded sample, build the book from them
	@echo "== Running the notebooks in profile sample"
	@$(BIN)/python book/build.py run --profile sample --folder build/notebooks
	@echo "== Building the book"
	@$(BIN)/python book/build.py book --notebooks build/notebooks --folder build/book

test: lint browser peers  ## Run all checks: style, types, units, notebooks, the book in a browser
	@echo "== Testing"
	@$(PYTEST) -m "not long"

test-long: lint browser peers  ## Also the tests that take minutes each
	@echo "== Testing, the long tests included"
	@$(PYTEST)

notebooks: $(STAMP)  ## Run every notebook and store its outputs in notebooks/
	@echo "== Refreshing the stored outputs"
	@$(BIN)/python book/build.py store --folder build/stored

results: $(STAMP) peers  ## Score the development half (hours, resumable); FLAGS="--population FILE --biome FILE"
	@echo "== Training and scoring the rows of the tables; a finished row is not repeated"
	@OMP_NUM_THREADS=1 $(BIN)/python -m data.experiments.runner $(or $(STAGE),development) $(FLAGS)

lint: $(STAMP)  ## Check style and types
	@echo "== Checking style and types"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

sample: $(STAMP)  ## Rebuild the embedded sample and compare it, byte for byte
	@echo "== Rebuilding the embedded sample"
	@$(BIN)/python data/build_sample.py --check

pretrained: $(STAMP)  ## Train the models that travel with the package again, and their cards (minutes)
	@echo "== Training the pretrained models"
	@OMP_NUM_THREADS=1 $(BIN)/python -m data.build_pretrained --work build/results

peers: $(GEOCLIP)  ## Install published encoders to compare with into build/peers (40 MB)

$(GEOCLIP): | $(STAMP)
	@echo "== Installing GeoCLIP's published location encoder into build/peers (40 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target build/peers geoclip==1.3.0

colab: $(STAMP)  ## Make the Colab edition of the notebooks in build/colab
	@$(BIN)/python book/colab.py

stamp: $(STAMP)  ## Write the repository's address into the book's buttons and the citation; ADDRESS=https://github.com/you/name
	@$(BIN)/python book/stamp.py $(ADDRESS)

clean:  ## Delete what was built; the environment stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache

browser: $(STAMP)
	@for name in chromium chromium-browser google-chrome; do \
	  command -v $$name > /dev/null && exit 0; \
	done; \
	echo "== Installing Chromium for the tests of the book"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && apt-get update -qq && apt-get install -y -qq chromium > /dev/null; then exit 0; fi; \
	$(BIN)/playwright install chromium && exit 0; \
	echo "The tests open the book in Chromium, which could not be installed:" >&2; \
	echo "install chromium or google-chrome and run make test again." >&2; exit 1
