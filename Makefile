# `make` lists the targets. They need Rust 1.95 and Node 20; `make setup` installs the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where Debian puts haproxy, and where cargo puts its tools.
export PATH := $(PATH):/usr/sbin:$(HOME)/.cargo/bin

CARGO_TARGET_DIR ?= target
IMAGE ?= hubbub:latest
DOCKER ?= docker
SCRIPTS := .ci/run benches/peers/launch scripts/cluster scripts/compose-test scripts/packages scripts/setup scripts/setup-ci \
	scripts/steps

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 16

.PHONY: run
run: ## start one instance on http://127.0.0.1:8080
	cargo run --release

.PHONY: demo
demo: sdk ## fill a few rooms with a conversation, on a running instance or on a new one
	node --experimental-websocket --no-warnings examples/demo/demo.mjs $(ARGS)

.PHONY: cluster
cluster: ## start Redis, Postgres, three instances and HAProxy here, without Docker
	scripts/cluster

.PHONY: test
test: ## formatting, Clippy and every test: run it before each commit (installs what it needs, as root)
	scripts/steps setup lint doc test-rust audit-short test-web test-browser

.PHONY: lint-all
lint-all: ## what CI checks besides: dependencies, Dockerfile, deployments, alerts, scripts, spelling
	scripts/steps setup-ci lint-deps lint-ops

.PHONY: setup
setup: ## install what `make test` needs, besides Rust and Node
	scripts/setup

.PHONY: setup-ci
setup-ci: ## install what `make lint-all` needs besides; compiles two cargo tools
	scripts/setup-ci

.PHONY: fmt
fmt: ## format the Rust code
	cargo fmt --all

.PHONY: lint
lint: ## formatting and Clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: lint-deps
lint-deps: ## unused dependencies, licences and sources of the others
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
doc: ## build the Rust documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

.PHONY: test-rust
test-rust: ## unit, integration and documentation tests, with cargo-nextest if it is installed
	if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --workspace --locked; \
	else cargo test --workspace --lib --bins --tests --examples --locked; fi
	cargo test --workspace --doc --locked

.PHONY: test-web
test-web: web/node_modules/.package-lock.json ## types, lint and unit tests of the browser app
	npm --prefix web run check

.PHONY: test-browser
test-browser: web/node_modules/.package-lock.json web/e2e/node_modules/.package-lock.json ## the browser app in Chromium, with two instances behind HAProxy
	npm --prefix web run types:e2e
	cargo build --locked --bin hubbub
	HUBBUB_BIN="$(abspath $(CARGO_TARGET_DIR))/debug/hubbub" node web/e2e/run.mjs

.PHONY: lighthouse
lighthouse: web/lighthouse/node_modules/.package-lock.json ## check the browser app with Lighthouse; not part of `make test`
	cargo build --release --locked --bin hubbub
	HUBBUB_BIN="$(abspath $(CARGO_TARGET_DIR))/release/hubbub" node web/lighthouse/run.mjs

%/node_modules/.package-lock.json: %/package-lock.json
	npm --prefix $* ci --no-audit --no-fund

.PHONY: lint-ops
lint-ops: export PATH := $(CURDIR)/.venv/bin:$(PATH)
lint-ops: .venv/installed ## Dockerfile, deployments, alerts, workflow, scripts, spelling
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
compose-test: ## chat through the compose stack while an instance stops, and another one and the database die
	scripts/compose-test

.PHONY: bench
bench: ## the benchmarks of single parts
	cargo bench --locked --bench codec --bench fanout

.PHONY: bench-history
MESSAGES ?= 1000000
bench-history: ## what the log in a file, the database and a killed instance take (a quarter of an hour)
	cargo bench --locked --bench log --bench storage
	cargo bench --locked --package hubbub-store --bench history -- sqlite $(MESSAGES)
	cargo bench --locked --package hubbub-store --bench history -- postgres $(MESSAGES)

# The audits start the server that is built with them.
AUDITS = $(CARGO_TARGET_DIR)/release
BUILD_AUDITS = cargo build --release --locked --bins --package hubbub --package hubbub-audits

.PHONY: audit-census
audit-census: ## the connection counter while clients and instances come and go
	$(BUILD_AUDITS)
	$(AUDITS)/audit-cluster census $(ARGS)

.PHONY: audit-herd
audit-herd: ## 2000 clients that reconnect at once after their instance was killed
	$(BUILD_AUDITS)
	$(AUDITS)/audit-cluster herd $(ARGS)

.PHONY: audit
audit: ## inject every fault into real processes: nothing lost, duplicated or reordered
	$(BUILD_AUDITS)
	$(AUDITS)/audit-delivery $(ARGS)

.PHONY: audit-control
audit-control: CONTROL = $(AUDITS)/audit-delivery --program $(AUDITS)/audit-control --stay 0 --any-place --times 1
audit-control: ## check the audit itself: a plain PUBLISH and a hasty recorder must fail it where faults lose messages, and only there
	$(BUILD_AUDITS)
	$(CONTROL) --only kill-pubsub,restart-empty,cut-link,instance-kill,cut-mid-frame --expect-loss $(ARGS)
	$(CONTROL) --only pause,slow-readers $(ARGS)
	for engine in sqlite postgres; \
	do $(AUDITS)/audit-delivery --history $$engine --only lease-ignored --times 1 --hasty --expect-loss $(ARGS); done

.PHONY: audit-perimeter
audit-perimeter: ## attack an instance from one address while people from others talk: they must hardly notice
	$(BUILD_AUDITS)
	$(AUDITS)/audit-perimeter $(ARGS)

.PHONY: audit-short
audit-short: AUDITS = $(CARGO_TARGET_DIR)/debug
audit-short: ## a selection of the audit, with and without a database, in about two minutes
	cargo build --locked --bins --package hubbub --package hubbub-audits
	$(AUDITS)/audit-delivery --short $(ARGS)
	$(AUDITS)/audit-delivery --short --history sqlite $(ARGS)
	$(AUDITS)/audit-delivery --history sqlite --only lease-ignored --times 1 --hasty --expect-loss $(ARGS)

.PHONY: soak
soak: MINUTES ?= 10
soak: ## random faults for MINUTES=10, and a check that memory does not grow
	$(BUILD_AUDITS)
	$(AUDITS)/audit-delivery --soak $(MINUTES) $(ARGS)

.PHONY: load
load: ## measure throughput and latency, for example: make load ARGS="--preset paced --baseline raw"
	cargo bench --bench load --locked -- $(ARGS)

PEERS ?= raw,uwebsockets,nats,axum,socketioxide,ws,socket-io

.PHONY: peers
peers: ## measure other servers under the same load: make peers PEERS=raw,nats ARGS="--preset burst"
	cargo bench --bench load --locked -- --preset paced --rounds 3 --baseline $(PEERS) $(ARGS)
