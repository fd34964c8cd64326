# All targets are safe to run twice. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

CARGO ?= cargo
MANIFESTS ?= ./manifests
TIMEOUT ?= 5m
BIN := $(or $(CARGO_TARGET_DIR),target)/quick/env-manager
# Which configuration `make up` chose (deploy/images); empty where the manifests' own images are used.
CHOICE := .env-manager/config
CONFIG = $$(test ! -s $(CHOICE) || echo --config "$$(cat $(CHOICE))")

.PHONY: help up down status plan images build test fuzz mutants lint bench engine test-tools python-env wheel upgrade-check sim chaos p20 clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

up: engine build images ## the daemon and all nine services, up and ready; does what set-up that needs
	@deploy/daemon start $(BIN) $(CONFIG) --manifests $(MANIFESTS)
	$(BIN) $(CONFIG) apply --manifests $(MANIFESTS) --timeout $(TIMEOUT)
	if [ -s $(CHOICE) ]; then
		printf '\nFor commands of your own: export ENV_MANAGER_CONFIG=%s PATH=%s:$$PATH\n' \
			"$(CURDIR)/$$(cat $(CHOICE))" '$(patsubst %/,%,$(dir $(abspath $(BIN))))'
	fi

down: build ## stops the daemon and removes what `make up` made; volumes stay
	@deploy/daemon stop $(BIN) $(CONFIG)
	$(BIN) $(CONFIG) down --manifests $(MANIFESTS)

status: build ## the table
	@$(BIN) $(CONFIG) status --manifests $(MANIFESTS)

plan: build ## what `make up` would change
	@$(BIN) $(CONFIG) plan --manifests $(MANIFESTS)

engine: # a working Docker, installed and started if need be
	@deploy/docker-engine

images: engine ## finds out where images come from; builds those that no registry has
	@mkdir -p $(dir $(CHOICE))
	deploy/images >$(CHOICE).new
	mv $(CHOICE).new $(CHOICE)

build: ## the program, at target/quick/env-manager
	@$(CARGO) build --quiet --profile quick
	echo "✓ $$($(BIN) version | head -n 1) built"

python-env: # virtual environments for python/
	@deploy/python-env

wheel: python-env ## the Python package with the daemon, dist/*.whl
	@command -v $(CARGO) >/dev/null || { echo '✗ cargo is not on the path: without it the build would download a toolchain'; exit 1; }
	MATURIN_PEP517_ARGS="--profile quick" .env-manager/python/bin/pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist ./python
	echo "✓ $$(ls dist/*.whl)"

test-tools: # Debian packages that tests and benchmark need
	@deploy/test-tools

test: engine test-tools python-env ## all tests, against a real engine
	@deploy/local-images/build
	if $(CARGO) nextest --version >/dev/null 2>&1; then
		$(CARGO) nextest run --all-features
	else
		$(CARGO) test --all-features
	fi

# RUNS: inputs for each parser, from number START on; SEED, CASE: docs/testing.md.
fuzz: ## a million inputs for the parsers of manifests and configuration
	@RUNS=$${RUNS:-1000000} $(CARGO) test --quiet --profile sim --all-features --test fuzz -- --nocapture --test-threads 1
# SEEDS=10000, START=0: so many histories from there on. SEED=4711: one, with its trace. docs/testing.md
sim: ## random histories over the simulated engine
	@SEEDS="$(or $(SEEDS),2000)" START="$(START)" SEED="$(SEED)" $(CARGO) test --quiet --profile sim --all-features \
		--test simulation random_histories -- --nocapture

# SEED=4711: that one; SECONDS=600: so long. docs/testing.md
chaos: engine test-tools ## two minutes of interference with a stack on a real engine of its own
	@SEED="$(or $(SEED),$$RANDOM)" SECONDS="$(or $(SECONDS),120)" $(CARGO) test --quiet --all-features \
		--test chaos random_interference -- --nocapture

# SEED=4711: that one; TASKS=20000, KILLS=50: so many. docs/testing.md
p20: test-tools python-env ## tasks while workers, the daemon and Redis are killed, as many as promised
	@SEED="$(or $(SEED),$$RANDOM)" TASKS="$(or $(TASKS),20000)" KILLS="$(or $(KILLS),50)" $(CARGO) test --quiet --all-features \
		--test tasks_killed p20_ -- --nocapture --test-threads 1

# MUTANTS="p09 p16": only these; docs/promises.md.
mutants: ## breaks each promise once in a copy, and runs the test that must notice
	@tests/mutants/run $(MUTANTS)

lint: ## format, clippy, shellcheck
	@$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features -- -D warnings
	if command -v shellcheck >/dev/null; then
		shellcheck -x .ci/run deploy/daemon deploy/docker-engine deploy/images deploy/lib.sh deploy/python-env deploy/test-tools deploy/upgrade-check python/check tests/mutants/run \
			deploy/local-images/build deploy/local-images/*/rootfs deploy/local-images/*/*-run deploy/local-images/redis/redis-server
	fi

# BENCH="--rounds 3", "--quick", "--sweep"; BENCH_DAEMON="--tries 10", "--quick"; BENCH_TASKS="--rounds 3", "--quick": docs/benchmarks.md.
bench: engine test-tools ## cold start and no-op, against docker-compose and the floor; the daemon's delays and cost; the task queue
	@deploy/local-images/build
	$(CARGO) bench --quiet --profile quick --bench converge -- $(BENCH)
	$(CARGO) bench --quiet --profile quick --bench daemon -- $(BENCH_DAEMON)
	$(CARGO) bench --quiet --profile quick --bench tasks -- $(BENCH_TASKS)

# FROM=v0.1.0: a commit, tag or branch.
upgrade-check: engine ## that containers of an older build, FROM=COMMIT, are the same ones after an upgrade to this one
	@test -n "$(FROM)" || { echo 'which build? make upgrade-check FROM=COMMIT'; exit 1; }
	docker image inspect em-test/busybox:1 >/dev/null 2>&1 || $(CARGO) test --quiet --all-features --test every_field
	deploy/upgrade-check $(FROM)

clean: ## removes what Cargo built; images and services stay
	@$(CARGO) clean
