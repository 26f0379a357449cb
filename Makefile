# A thin front to meson and ninja, which do the work. `make help` says what there is.
#
#   SANITIZE=address,undefined or SANITIZE=thread   build with sanitizers, into a folder of its own
#   CC, CXX                                         other compilers (for a build folder that does not exist yet)
#   BUILD_DIR                                       where to build

SHELL := /bin/bash
comma := ,
SANITIZE ?=
BUILD_DIR ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
meson_options := $(if $(SANITIZE),-Db_sanitize=$(SANITIZE) -Db_lundef=false)
export SANITIZE BUILD_DIR

.DEFAULT_GOAL := build
.PHONY: bench bench-peers build chaos clean demo fuzz help lint run setup soak test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo '  options: SANITIZE=address,undefined | SANITIZE=thread, BUILD_DIR=...'

setup: ## install the Debian packages that are missing
	@scripts/setup.sh

$(BUILD_DIR)/build.ninja: | setup
	@meson setup $(meson_options) $(BUILD_DIR) >$(BUILD_DIR).log 2>&1 || { cat $(BUILD_DIR).log; rm -rf $(BUILD_DIR) $(BUILD_DIR).log; exit 1; }
	@rm -f $(BUILD_DIR).log

build: setup $(BUILD_DIR)/build.ninja ## build everything (what plain `make` does)
	@ninja -C $(BUILD_DIR)

demo: build ## hub, two nodes and the main job on real input, in a scratch directory
	@SHOAL=$(abspath $(BUILD_DIR))/shoal scripts/demo.sh

test: build ## build, and run every test
	@scripts/test.sh

fuzz: ## every fuzz target for FUZZ_SECONDS (default 1200, five hours in all); what is found stays in build-fuzz/found
	@scripts/setup.sh build tests
	@scripts/fuzz.sh $(or $(FUZZ_SECONDS),1200)

run: build ## hub and one node until Ctrl-C
	@exec $(BUILD_DIR)/shoal up

lint: ## form, layers and common mistakes of the source
	@scripts/setup.sh build lint
	@scripts/lint.sh

chaos: build ## real hub and nodes under KILLS=100 times kill -9 and other faults; about ten minutes
	@CHAOS_KILLS=$(or $(KILLS),100) E2E_SECONDS=7200 scripts/test.sh e2e/test_chaos.mjs
	@sed -n '/^     /p' $(BUILD_DIR)/test-logs/test_chaos.mjs.log

soak: build ## new seeds in the simulator, for TIME=1h, FAULT_RATE=100
	@test/sim/soak.sh $(abspath $(BUILD_DIR))/shoal

bench: build ## measure, against nginx and PostgreSQL
	@scripts/setup.sh bench
	@bench/run.sh $(BUILD_DIR)

bench-peers: build ## the same work by Shoal, nginx, PostgreSQL, Redis, BullMQ, NATS and beanstalkd, in turns; PEERS="--only redis"
	@scripts/setup.sh bench peers
	@bench/peers/install.sh $(BUILD_DIR)
	@bench/peers.sh $(BUILD_DIR) $(PEERS)

clean: ## remove what was built
	rm -rf build build-address-undefined build-thread build-release build-fuzz $(BUILD_DIR) test/e2e/node_modules bench/peers/node_modules
