# The front door: every target sets up what it needs in .venv and does nothing twice.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(shell find shardproxy -name '*.pyx' -o -name '*.pxd')

.PHONY: run test lint bench bench-micro fuzz install-systemd clean

run: $(VENV)/run.installed
	$(BIN)/shardproxy demo $(DEMO)

test: $(VENV)/test.installed
	$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/test.installed
	$(BIN)/ruff check supervisor shardproxy tests loadtests
	$(BIN)/mypy shardproxy tests loadtests

bench: $(VENV)/bench.installed
	$(BIN)/python -m loadtests.compare $(BENCH)

# Instructions of single operations, compared with loadtests/micro/instructions.json; MICRO=--write renews that.
bench-micro: $(VENV)/test.installed
	$(BIN)/python -m loadtests.micro $(MICRO)

fuzz: $(VENV)/test.installed
	$(BIN)/python -m tests.fuzz.mutate --seconds $(or $(SECONDS),60)

# The units, the user and the directories; PREFIX/bin/shardproxy is the installed program (docs/systemd.md).
install-systemd:
	systemd/install.sh $(or $(PREFIX),/opt/shardproxy)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The compiled modules are built in place, so a change of one of them installs again.
$(VENV)/run.installed: $(SOURCES) | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/test.installed: $(SOURCES) | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@touch $@ $(VENV)/run.installed

$(VENV)/bench.installed: $(VENV)/test.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

clean:
	rm -rf build $(VENV)/*.installed
	find shardproxy -name '*.so' -delete -o -name '*.c' -delete
