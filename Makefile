# Two commands on a fresh machine (Debian 12 or Ubuntu, root or sudo): `make lab` and `make test`.
# Both do their own set-up: the virtual environment and what the lab needs from the distribution.

VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LAB ?= dual-tor
IMAGE ?= underlay:0.1.0
STAMP := $(VENV)/.installed
JUDGES := $(VENV)/.judges

.PHONY: lab lab-down test check bench setup unit crds image

setup: $(STAMP)
	@sh containerlab/prerequisites.sh

$(STAMP): pyproject.toml requirements.lock
	@echo "== python: a virtual environment in $(VENV), packages as locked in requirements.lock"
	@sh containerlab/prerequisites.sh python3-venv
	@[ -x $(BIN)/python ] || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -e .
	@touch $@

$(JUDGES): $(STAMP) requirements-judges.lock
	@echo "== python: what judges the switches' configurations"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements-judges.lock
	@touch $@

lab: setup
	@echo "== lab: $(LAB) in network namespaces"
	@$(SUDO) $(BIN)/underlay lab up $(LAB)
	@$(SUDO) $(BIN)/underlay lab demo $(LAB)

lab-down: setup
	@$(SUDO) $(BIN)/underlay lab down $(LAB)

check: $(STAMP) $(JUDGES)
	@echo "== ruff, mypy, import rules"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: $(STAMP) $(JUDGES)
	@$(SUDO) $(BIN)/pytest -p no:cacheprovider -n 2 tests/unit tests/switches

crds: $(STAMP)
	@$(BIN)/python -m peering.crds config/crd

test: setup check
	@echo "== tests: units and switches, then real daemons in network namespaces"
	@$(SUDO) $(BIN)/pytest -p no:cacheprovider -n 2 tests/unit tests/switches
	@$(SUDO) $(BIN)/pytest -p no:cacheprovider tests/interop tests/lab

bench: setup
	@$(BIN)/python bench/plan.py
	@$(BIN)/python bench/whatif.py
	@$(SUDO) $(BIN)/python bench/lab.py
	@$(BIN)/python bench/ipam.py
	@$(SUDO) $(BIN)/python bench/cni.py --real
	@$(BIN)/python bench/kubernetes.py
	@$(BIN)/python bench/kubernetes_memory.py
	@$(MAKE) --silent -C bench/rrbench
	@$(SUDO) $(BIN)/python bench/reflector.py --budget 300 --write
	@$(SUDO) $(BIN)/python bench/reflector_stop.py

image:
	@docker build --tag $(IMAGE) .
