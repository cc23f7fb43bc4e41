# Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay together: what they share is made once. More processes only take memory.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 6 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test lint wheel-check package-check docs clean

demo: $(VENV)/base.stamp  ## index the sample, search it with a drawing, show the result
	@mkdir -p demo
	@EDGE_RET_CACHE=demo/cache $(BIN)/edge-ret search --html demo/hits.html
	@echo "open demo/hits.html in a browser; next: $(BIN)/edge-ret index FOLDER -o register"

test: $(VENV)/dev.stamp  ## all tests
	$(PYTEST) tests/distill  # apart: torch and NNCF take memory that the rest need not bear
	$(PYTEST) --ignore=tests/distill

lint: $(VENV)/dev.stamp  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel-check: $(VENV)/dev.stamp  ## build the wheel, install it alone, search from another folder
	PYTHON=$(PYTHON) BUILDER=$(BIN)/python bash .ci/wheel-check

package-check: $(VENV)/dev.stamp  ## wheel and sdist, each alone on every Python that is here: minutes
	BUILDER=$(BIN)/python $(BIN)/python .ci/package-check

docs: $(VENV)/docs.stamp  ## the pages of docs as a site, in site/: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html in a browser"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed: make PYTHON=python3.11 ...") if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/base.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV): about a minute ..."
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) with torch and the tools: a few minutes ..."
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/base.stamp

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) with what builds the site ..."
	$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@ $(VENV)/base.stamp

clean:
	rm -rf $(VENV) demo dist build site .pytest_cache .mypy_cache .ruff_cache
