# make is the interface, `cargo xtask` the logic: this file only says in which order.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Arguments for `make run`, such as ARGS="--data-dir /tmp/muster --once".
ARGS ?=

# Captures that some tests walk, too many to be part of the repository; those tests say "skipped" without them.
CAPTURES := $(wildcard ../shared/fixtures)
ifneq ($(CAPTURES),)
export MUSTER_FIXTURES ?= $(abspath $(CAPTURES))
endif

.PHONY: help run check fmt clippy tidy doc lint test test-podman-api test-full lab-test test-deps docs bench soak

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Builds a release and runs controller and agent on this machine; ARGS="..." are for `muster up`
	$(CARGO) build --locked --release --bins
	@PATH="$$PATH:/usr/sbin:/sbin" command -v smartctl >/dev/null || \
		echo "hint: smartctl is not installed, so disks show no SMART state: apt-get install smartmontools" >&2
	exec $(TARGET)/release/muster up $(ARGS)

check: fmt tidy lint clippy doc ## Everything that reads the code without running it

fmt: ## Is the code formatted?
	$(CARGO) fmt --all --check

tidy: ## Boundaries, sizes, names, dependencies, licences, comments, paths in documents
	$(CARGO) xtask tidy

lint: ## The protobuf files (buf) and the spelling (typos), where PyPI has them
	$(CARGO) xtask lint

clippy: ## Lints, as errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --lib --features muster-agent/podman-api -- -D warnings

doc: ## The API documentation builds without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

# Programs first: the whole-process tests start them. With --tests in the same call, dependencies get one set of
# features, and the test runner finds everything already built.
test: test-deps ## Installs what the tests need and runs them
	$(CARGO) build --locked --workspace --bins --tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; \
		$(CARGO) test --locked --workspace --doc --quiet && $(CARGO) nextest run --locked --workspace; \
	else set -x; $(CARGO) test --locked --workspace --no-fail-fast; fi
	$(MAKE) test-podman-api

# With a crate in place of our own client, as docs/adr/0020 tells.
test-podman-api: WITH_FEATURE = --workspace --features muster-agent/podman-api
test-podman-api: test-deps ## The tests on a real Podman, on an agent with the feature podman-api
	$(CARGO) build --locked $(WITH_FEATURE) --bins --tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; \
		$(CARGO) nextest run --locked $(WITH_FEATURE) -E 'package(muster-e2e) and test(podman)'; \
	else set -x; $(CARGO) test --locked $(WITH_FEATURE) podman; fi

test-full: export MUSTER_TEST_FULL := 1
test-full: test-deps ## The same tests with their long campaigns
	$(CARGO) build --locked --workspace --bins --tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; \
		$(CARGO) test --locked --workspace --doc --quiet && $(CARGO) nextest run --locked --workspace --profile full; \
	else set -x; $(CARGO) test --locked --workspace --no-fail-fast; fi

lab-test: ## Tests on real storage in a guest (tests/lab); builds the guest first, which needs root and some minutes
	$(CARGO) build --locked --workspace --bins
	tests/lab/lab build
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; \
		MUSTER_LAB=1 $(CARGO) nextest run --locked --package muster-e2e --test lab --profile lab; \
	else set -x; MUSTER_LAB=1 $(CARGO) test --locked --package muster-e2e --test lab -- --test-threads 1 --nocapture; fi

test-deps: ## Installs the programs that the tests need (apt when root, else says which are missing)
	$(CARGO) xtask test-deps

docs: ## Writes docs/collectors.md, docs/metrics.md and deploy/*.toml from the code
	$(CARGO) xtask docs

bench: ## Measures, and writes docs/benchmarks.md
	$(CARGO) build --locked --release --bins
	$(CARGO) xtask bench

soak: ## The ticks of 8 hours in half an hour, after half an hour of warming up; writes docs/soak.md
	$(CARGO) build --locked --release --bins
	$(CARGO) xtask soak
