# `make` lists the targets. Rust 1.95 and Node 20 are needed; `make setup` installs the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where Debian puts haproxy, and where cargo puts its tools.
export PATH := $(PATH):/usr/sbin:$(HOME)/.cargo/bin

CARGO_TARGET_DIR ?= target
IMAGE ?= hubbub:latest
DOCKER ?= docker
SCRIPTS := .ci/run benches/peers/launch scripts/cluster scripts/compose-test scripts/setup scripts/test

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 16

.PHONY: run
run: ## start one instance on http://127.0.0.1:8080
	cargo run --release

.PHONY: demo
demo: sdk ## fill a few rooms with a conversation, on an instance that runs or on one of its own
	node --experimental-websocket --no-warnings examples/demo/demo.mjs $(ARGS)

.PHONY: cluster
cluster: ## start Redis, three instances and HAProxy here, without Docker
	scripts/cluster

.PHONY: setup
setup: ## install what the tests need
	scripts/setup

.PHONY: test
test: ## everything that CI runs
	scripts/test

.PHONY: fmt
fmt: ## format the Rust code
	cargo fmt --all

.PHONY: lint
lint: ## formatting, Clippy, unused and unwanted dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo machete
	cargo deny --locked check bans licenses sources

.PHONY: sdk
sdk: web/node_modules/.package-lock.json ## build the JavaScript SDK
	npm --prefix web/sdk run build --silent
	@echo 'web/sdk/dist is built; `npm pack ./web/sdk` makes a package of it'

.PHONY: types
types: ## write the TypeScript types of the protocol from the Rust types
	WRITE_TYPES=1 cargo test --locked --package hubbub-protocol -- typescript

.PHONY: doc
doc: ## the Rust documentation, without a warning
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

.PHONY: test-rust
test-rust: ## unit, integration and documentation tests
	if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --workspace --locked; \
	else cargo test --workspace --lib --bins --tests --examples --locked; fi
	cargo test --workspace --doc --locked

.PHONY: test-web
test-web: web/node_modules/.package-lock.json ## types, lint and unit tests of the browser app
	npm --prefix web run check

.PHONY: test-browser
test-browser: web/node_modules/.package-lock.json web/e2e/node_modules/.package-lock.json ## two instances and HAProxy in a real browser
	npm --prefix web run types:e2e
	cargo build --locked --bin hubbub
	HUBBUB_BIN="$(abspath $(CARGO_TARGET_DIR))/debug/hubbub" node web/e2e/run.mjs

.PHONY: lighthouse
lighthouse: web/lighthouse/node_modules/.package-lock.json ## have Lighthouse look at the browser app; not part of `make test`
	cargo build --release --locked --bin hubbub
	HUBBUB_BIN="$(abspath $(CARGO_TARGET_DIR))/release/hubbub" node web/lighthouse/run.mjs

%/node_modules/.package-lock.json: %/package-lock.json
	npm --prefix $* ci --no-audit --no-fund

.PHONY: lint-ops
lint-ops: export PATH := $(CURDIR)/.venv/bin:$(PATH)
lint-ops: .venv/installed ## Dockerfile, compose, HAProxy, Fly, alerts, workflow, scripts, spelling
	hadolint Dockerfile
	docker-compose config --quiet
	check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	haproxy -c -f deploy/haproxy.cfg
	python3 scripts/check-deployments.py
	promtool check rules ops/prometheus/alerts.yml
	promtool test rules ops/prometheus/alerts.test.yml
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --offline --quiet .github/workflows
	shellcheck $(SCRIPTS)
	node --check scripts/chat-audit.mjs
	node --check examples/demo/demo.mjs
	typos

.venv/installed: requirements-dev.txt
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.PHONY: image
image: ## build the container image
	$(DOCKER) build $(DOCKER_BUILD_FLAGS) -t $(IMAGE) .

.PHONY: compose-test
compose-test: ## chat through the compose stack while an instance stops
	scripts/compose-test

.PHONY: bench
bench: ## the benchmarks
	cargo bench --workspace --locked

# The audits start the server that is built with them.
AUDITS = $(CARGO_TARGET_DIR)/release
BUILD_AUDITS = cargo build --release --locked --bins --package hubbub --package hubbub-audits

.PHONY: audit-census
audit-census: ## the connection counter while clients and instances come and go
	$(BUILD_AUDITS)
	$(AUDITS)/audit-cluster census $(ARGS)

.PHONY: audit-herd
audit-herd: ## 2000 clients that come back at once when their instance dies
	$(BUILD_AUDITS)
	$(AUDITS)/audit-cluster herd $(ARGS)

.PHONY: audit
audit: ## every fault on real processes: nothing lost, nothing twice, nothing out of order
	$(BUILD_AUDITS)
	$(AUDITS)/audit-delivery $(ARGS)

.PHONY: audit-control
audit-control: CONTROL = $(AUDITS)/audit-delivery --program $(AUDITS)/audit-control --stay 0 --any-place --times 1
audit-control: ## a relay that is a plain PUBLISH: each fault must be found out, and nothing where there is none
	$(BUILD_AUDITS)
	$(CONTROL) --only kill-pubsub,restart-empty,cut-link,instance-kill,cut-mid-frame --expect-loss $(ARGS)
	$(CONTROL) --only pause,slow-readers $(ARGS)

.PHONY: audit-short
audit-short: AUDITS = $(CARGO_TARGET_DIR)/debug
audit-short: ## a selection of the audit, in less than a minute
	cargo build --locked --bins --package hubbub --package hubbub-audits
	$(AUDITS)/audit-delivery --short $(ARGS)

.PHONY: soak
soak: MINUTES ?= 10
soak: ## random faults for MINUTES=10, and whether the instances grow
	$(BUILD_AUDITS)
	$(AUDITS)/audit-delivery --soak $(MINUTES) $(ARGS)

.PHONY: load
load: ## the load generator, for example: make load ARGS="--preset paced --baseline raw"
	cargo bench --bench load --locked -- $(ARGS)

PEERS ?= raw,uwebsockets,nats,axum,socketioxide,ws,socket-io

.PHONY: peers
peers: ## other servers under the same load: make peers PEERS=raw,nats ARGS="--preset burst"
	cargo bench --bench load --locked -- --preset paced --rounds 3 --baseline $(PEERS) $(ARGS)
