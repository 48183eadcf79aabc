# Subsolar. `make replay` flies a mission on this machine; `make test` installs what the tests need and runs them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= build/replay
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: venv venv-dev replay test lint wheel-test resolve-jetson bench-sim bench-policy bench-downlink scenes pool train fit clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

venv: $(VENV)/.installed ## .venv with the base distribution and the CPU engine

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -e '.[cpu]'
	touch $@

venv-dev: $(VENV)/.installed-dev ## the same, with what tests, training and export need (torch's CPU build)

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet -e '.[cpu,export,train,sim,dev]'
	touch $@

replay: venv ## fly cubesat-6u for three orbits over the sample scenes; the report lands in build/replay
	$(BIN)/subsolar replay cubesat-6u --orbits 3 --policy dqn --seed 7 --out $(OUT)

test: venv-dev ## the test suite
	$(BIN)/python -m pytest

lint: venv-dev ## ruff, mypy --strict, pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

wheel-test: venv-dev ## build the wheel, install it in a clean environment, fly a short mission from there
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip --disable-pip-version-check install --quiet "$$(ls build/wheel/*.whl)[cpu]"
	cd build/wheel && venv/bin/subsolar replay cubesat-6u --orbits 1 --policy dqn --seed 7 --tiles-per-slot 8 \
		--packages ../../deploy/packages --scenes ../../deploy/scenes --out replay --json > summary.json
	$(BIN)/python -c "import json; s = json.load(open('build/wheel/summary.json')); assert s['slots'] > 20 and s['delivered'] > 0, s"

resolve-jetson: venv ## the base must resolve from wheels on Python 3.10 aarch64 (JetPack 6) and 3.12 aarch64 (JetPack 7)
	rm -rf build/jetson && mkdir -p build/jetson
	$(BIN)/python -c "import tomllib, pathlib; print('\n'.join(tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']['dependencies']))" > build/jetson/base.txt
	for v in 3.10 3.12; do $(PIP) install --quiet --dry-run --ignore-installed --target build/jetson/$$v --only-binary=:all: \
		--implementation cp --python-version $$v --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
		--platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 -r build/jetson/base.txt \
		&& echo "base resolves on aarch64, Python $$v" || exit 1; done

clean: ## remove what the targets made, the environment excepted
	rm -rf build dist *.egg-info
