# Everything a developer does here. `make` alone prints the list.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# loadscope: one worker runs all of a class, and all functions of a module, so what they share is made once.
# (loadgroup would say it test by test, but xdist 3.8 loses the groups with pytest 9.2.)
SPREAD := -n 2 --dist loadscope
INTERPRETERS := python3.10 python3.11 python3.12 python3.13 python3.14
SCHEDULES ?= 1000000
FIRST ?= 0
MINUTES ?= 30
EVERY ?= 20

.PHONY: help demo test test-long test-all soak soak-run lint docs clean

help:
	@echo "make demo       three peers and a tracker on this machine (ONCE=1: end by itself)"
	@echo "make test       the tests, under 5 minutes on 2 cores"
	@echo "make test-long  the same with larger counts, and the tests that take minutes"
	@echo "make test-all   the tests on every Python from 3.10 to 3.14 that is installed"
	@echo "make soak       random schedules of the sync model (SCHEDULES=$(SCHEDULES) FIRST=$(FIRST))"
	@echo "make soak-run   real processes that are killed all the time (MINUTES=$(MINUTES) EVERY=$(EVERY) SEED= DIR=)"
	@echo "make lint       ruff and mypy"
	@echo "make docs       docs/*.md as pages in docs/_build"
	@echo "make clean      remove what these made, except .venv"

# An existing .venv is kept; what it lacks is installed.
.venv/.ready: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/.ready
	.venv/bin/python tools/demo.py $(if $(ONCE),--once)

test: .venv/.ready
	$(PYTEST) $(SPREAD)

test-long: .venv/.ready
	TWISTEDP2P_LONG=1 TWISTEDP2P_SCHEDULES=20000 $(PYTEST) $(SPREAD)

# One venv for each interpreter, so that they do not disturb .venv.
test-all:
	@set -e; for name in $(INTERPRETERS); do \
		$$name -c '' 2>/dev/null || { echo "== $$name is not installed"; continue; }; \
		echo "== $$name"; \
		test -x .venv-$$name/bin/python || $$name -m venv .venv-$$name; \
		.venv-$$name/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'; \
		.venv-$$name/bin/python -m pytest $(SPREAD); \
	done

soak: .venv/.ready
	.venv/bin/python -m tests.model.soak $(SCHEDULES) $(FIRST)

soak-run: .venv/.ready
	$(BIN)/python -m tools.soak_run --minutes $(MINUTES) --every $(EVERY) \
		$(if $(SEED),--seed $(SEED)) $(if $(DIR),--dir $(DIR))

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/.ready
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build

clean:
	rm -rf build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis _trial_temp* .demo .venv-*
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache
