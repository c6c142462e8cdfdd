# The front door: every target sets up what it needs in .venv and does nothing twice.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(shell find shardproxy -name '*.pyx' -o -name '*.pxd')

.PHONY: run test test-debug soak lint bench bench-micro fuzz mutants install-systemd clean

run: $(VENV)/run.installed
	$(BIN)/shardproxy demo $(DEMO)

test: $(VENV)/test.installed
	$(BIN)/python -m pytest $(TESTS)

# The same code with its assertions, counts of live objects and checks for None, compiled in a folder of its own.
DEBUG_TESTS := tests/inprocess tests/unit/proxy tests/unit/http1 tests/e2e/test_retries.py tests/e2e/test_hedging.py \
  tests/e2e/test_queue.py tests/e2e/test_tunnels.py tests/e2e/test_pools.py tests/chaos/test_broken_origins.py

test-debug: $(VENV)/test.installed
	@mkdir -p build/debug
	git ls-files -z --cached --others --exclude-standard | tar cf - --null --ignore-failed-read -T - | tar xf - -C build/debug
	cd build/debug && SP_DEBUG=1 ../../$(BIN)/python setup.py -q build_ext --inplace
	cd build/debug && PYTHONPATH=$$PWD ../../$(BIN)/python -m pytest $(or $(TESTS),$(DEBUG_TESTS))

# Steps of the model of clients, endpoints and time, by chance: make soak STEPS=1000000
soak: $(VENV)/test.installed
	$(BIN)/python -m tests.inprocess.soak --steps $(or $(STEPS),20000) --seed $(or $(SEED),1)

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

# Mutants of the Python of one room (supervisor, controller, config, limits) against its unit tests: takes long.
# FILES="care scale" for some files only; AGAIN=1 tries only what has survived and what has changed.
mutants: $(VENV)/mutants.installed
	$(BIN)/python -m tests.mutants.run $(or $(ROOM),supervisor) $(FILES) $(if $(AGAIN),--again)

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

$(VENV)/mutants.installed: $(VENV)/test.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[mutants]'
	@touch $@

clean:
	rm -rf build $(VENV)/*.installed
	find shardproxy -name '*.so' -delete -o -name '*.c' -delete
