# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up first; see scripts/setup.sh.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PYTHONUNBUFFERED := 1

.PHONY: help setup demo test test-slow lint bench clean

help:
	@echo "make demo       render, pretrain, finetune on real video, report: demo/index.html (about 20 min on 2 cores)"
	@echo "make test       all tests but the slow ones"
	@echo "make test-slow  the slow ones"
	@echo "make lint       formatting and imports"
	@echo "make bench      speed and memory of rendering and of the skeleton image"
	@echo "make setup      what the others do first: libraries, virtual environment, packages"

setup: $(READY)

$(READY): pyproject.toml scripts/setup.sh scripts/constraints.txt
	scripts/setup.sh $(VENV) all
	touch $@

demo: $(READY)
	scripts/demo.sh $(BIN) demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(READY)
	$(BIN)/python benchmarks/render.py
	$(BIN)/python benchmarks/skeleton_image.py

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis
