# Every habit has one target; CI calls only these. `make help` lists them.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# ENVOY=/path/to/envoy: use that one instead of the pinned one.
ENVOY_VERSION := 1.40.0
ENVOY_OLDEST_VERSION := 1.36.4
ENVOY ?= target/envoy/bin/envoy
ENVOY_OLDEST ?= target/envoy-1.36/bin/envoy
# As Debian 12 has it: where the image cannot be pulled, it is made of Debian's.
PROMETHEUS_VERSION := 2.42.0
# LOCKED=--locked: fail rather than change Cargo.lock, as CI does.
LOCKED ?=
export LOCKED

# kubectl, where the machine has none.
export PATH := $(PATH):$(abspath target/kubectl)

# These targets install first what the machine lacks. All others install no tool of the build, and say what does; but
# `make wasm-any`, which is for machines that cannot have it.
PREPARED := $(if $(filter run test test-all test-repeat lint nightly,$(MAKECMDGOALS)),toolchain)

WASM := target/usher.wasm
# What the demo and the tests run.
RUN_ENV := USHER_WASM="$(abspath $(WASM))" ENVOY="$(abspath $(ENVOY))" ENVOY_OLDEST="$(abspath $(ENVOY_OLDEST))"
CONTAINERS := ENVOY="$(ENVOY)" ENVOY_VERSION=$(ENVOY_VERSION) PROMETHEUS=target/prometheus/bin/prometheus \
	PROMETHEUS_VERSION=$(PROMETHEUS_VERSION) tools/containers
# Folders too: a file that is gone makes the module stale as well.
WASM_SOURCES := Cargo.toml Cargo.lock core/Cargo.toml rust-toolchain.toml tools/rust.lock tools/wasm tools/wasm-cargo tools/exports \
	tools/optimize.py tools/binaryen tools/binaryen.lock $(shell find src core/src tools/arrange)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' Makefile

##@ Build

.PHONY: wasm
wasm: $(WASM) ## build target/usher.wasm, the release's bytes; where something is missing it says what gets it

# With WASM=file that module is taken as it is.
target/usher.wasm: $(WASM_SOURCES) | $(PREPARED)
	WASM_ANY= USHER_FEATURES= tools/wasm $@

# Never a part of another target: what it makes is no release's, has another name, and says so. `make story
# WASM=target/usher-any.wasm` runs it.
.PHONY: wasm-any
wasm-any: export WASM_ANY := 1
wasm-any: ## by hand, where make wasm cannot be had: target/usher-any.wasm by any compiler (WASM_KIT=distribution, SMALL=0); not a release's bytes
	tools/binaryen install
	tools/wasm-cargo install
	tools/wasm target/usher-any.wasm

.PHONY: wasm-fault
wasm-fault: target/usher-fault.wasm ## build the module that traps on demand, for the test of what Envoy does then

# Never at the same time as the other: both come out of the compiler under the same name.
target/usher-fault.wasm: $(WASM_SOURCES) | wasm
	WASM_ANY= USHER_FEATURES=fault tools/wasm $@

.PHONY: dist
dist: wasm ## what a release carries: target/dist/usher.wasm and its sha256
	tools/origin check $(WASM)
	mkdir -p target/dist
	cp $(WASM) target/dist/usher.wasm
	cd target/dist && sha256sum usher.wasm | tee usher.wasm.sha256

.PHONY: image
image: wasm ## the container image of the module, as an OCI layout below target/image; prints what sha256 must say
	tools/origin check $(WASM)
	cargo run $(LOCKED) --quiet --package usher-image -- --module $(WASM) --output target/image \
		$(if $(REVISION),--revision $(REVISION))

.PHONY: toolchain
toolchain: ## install what the build and the tests need and is missing here: a C linker, pip, curl, the compiler of rust-toolchain.toml, Binaryen
	tools/toolchain

.PHONY: envoy
envoy: $(ENVOY) ## get the pinned Envoy to target/envoy/bin/envoy

.PHONY: envoy-oldest
envoy-oldest: $(ENVOY_OLDEST) ## get the oldest Envoy that is tested to target/envoy-1.36/bin/envoy

target/envoy/bin/envoy: tools/envoy tools/envoy.lock | $(PREPARED)
	tools/envoy $(ENVOY_VERSION) $@

target/envoy-1.36/bin/envoy: tools/envoy tools/envoy.lock | $(PREPARED)
	tools/envoy $(ENVOY_OLDEST_VERSION) $@

.PHONY: prometheus
prometheus: target/prometheus/bin/prometheus ## get Debian's Prometheus and promtool to target/prometheus/bin

# Where it cannot be had the recipe says so and leaves nothing: tests that need it are skipped, loudly.
target/prometheus/bin/prometheus: tools/prometheus | $(PREPARED)
	tools/prometheus target/prometheus

.PHONY: istio-models
istio-models: target/istio-models ## get the models of Istio's resources to target/istio-models

target/istio-models: tools/istio-models tools/istio-models.lock | $(PREPARED)
	tools/istio-models $@

.PHONY: kubectl
kubectl: | $(PREPARED) ## get kubectl to target/kubectl, where the machine has none
	tools/kubectl target/kubectl

.PHONY: cli
cli: ## build the usher command, target/release/usher
	cargo build $(LOCKED) --release --package usher-cli

##@ Run

.PHONY: run
run: toolchain wasm envoy ## play the demo in a real Envoy on 127.0.0.1:10000 and keep serving; ONCE=1 stops after the examples
	@echo "run: building the demo (some minutes the first time), then playing it"
	$(RUN_ENV) cargo run $(LOCKED) --quiet --package usher-demo --bin usher-demo -- play $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: story
story: wasm envoy ## play the guides' story: write-checks, check-funds, pull-funds, token exchange, stolen tokens
	@echo "story: building the demo (some minutes the first time), then playing it"
	$(RUN_ENV) cargo run $(LOCKED) --quiet --package usher-demo --bin usher-demo -- story --folder target/story --port 10100

.PHONY: compare
compare: wasm envoy ## Envoy's own filter and Usher in one Envoy, asked the same: the telling differences side by side
	@echo "compare: building what it needs of the testkit (some minutes the first time), then playing it"
	$(RUN_ENV) cargo run $(LOCKED) --quiet --package usher-testkit --bin compare

# The probe is linked statically: it is mounted into images that it knows nothing of.
.PHONY: container-binaries
container-binaries:
	cargo build $(LOCKED) --workspace --bin usher-demo
	cargo rustc $(LOCKED) --package usher-probe -- -C target-feature=+crt-static
	install -D target/debug/usher-probe target/containers/probe

.PHONY: up
up: wasm envoy prometheus container-binaries ## the same in containers by docker compose: Envoy and the demo on port 10000, Prometheus on 10009
	$(CONTAINERS) up

.PHONY: down
down: ## stop the containers and remove what make up made
	$(CONTAINERS) down

.PHONY: story-up
story-up: wasm envoy container-binaries ## the story in containers, each service behind its own Envoy
	$(CONTAINERS) story-up

.PHONY: story-down
story-down: ## stop the story's containers and remove what make story-up made
	$(CONTAINERS) story-down

.PHONY: bench
bench: wasm envoy ## Usher beside the native filters: report and plots to target/bench; QUICK=1 takes about five minutes
	$(RUN_ENV) cargo run $(LOCKED) --quiet --package usher-bench

##@ Check

# Where the vectors that cannot be in the project are beside it, nothing may be skipped but what tools/skips-allowed names.
.PHONY: test
test: export USHER_REQUIRE_ALL ?= $(if $(wildcard $(or $(USHER_SHARED),../shared)/vectors),1)
test: ## every test, with everything that they need; the last lines count what ran and what was skipped
	@tools/tally $(MAKE) --no-print-directory test-all

# The levels. All of `cargo` is asked for the whole workspace, so that no level builds a crate anew that another has built.
# Without the tests of how the module and the image are built, which `make test` has.
.PHONY: unit
unit: ## the unit tests, and the core by its public functions: seconds, no Envoy; T=part of the tests' names
	cargo test $(LOCKED) --workspace --lib --bins --test logic -- $(if $(T),$(T),--skip build:: --skip sbom::)

.PHONY: vectors
vectors: ## the vectors, Wycheproof's signatures and random requests through the core and the command: a minute, no Envoy
	cargo test $(LOCKED) --workspace --test vectors
	cargo test $(LOCKED) --workspace --test command -- authz_vectors:: istio_validation::

# What the tests with a real Envoy run or look at.
E2E := wasm wasm-fault envoy envoy-oldest prometheus test-packages istio-models kubectl

.PHONY: e2e
e2e: $(E2E) ## the module in a real Envoy; T=remote_keys: only tests with this in their names, or with one of several words
	$(RUN_ENV) cargo test $(LOCKED) --workspace --test e2e -- $(T)

.PHONY: test-all
test-all: toolchain test-cargo linearity test-containers test-image

# Real programs that tests stand beside the filter: an identity provider with its database.
TEST_PACKAGES := glewlwyd sqlite3

.PHONY: test-packages
test-packages: | $(PREPARED) ## install the programs that some tests run, where that is possible here
	tools/packages $(TEST_PACKAGES)

.PHONY: test-cargo
test-cargo: $(E2E) ## unit, command-line and end-to-end tests (not the containers)
	rm -rf target/envoys
	$(RUN_ENV) cargo test $(LOCKED) --workspace
	cargo test $(LOCKED) --workspace --test e2e -- logged:: --ignored --nocapture

.PHONY: test-repeat
test-repeat: toolchain $(E2E) ## the built tests N=10 times, those with random values 200 times
	$(RUN_ENV) tools/tally tools/test-repeat $(or $(N),10)

.PHONY: coverage
coverage: ## lines of the core and of the filter that tests without an Envoy run: at least 95 % and 90 %
	tools/coverage 95 90

.PHONY: test-observability
test-observability: wasm envoy prometheus ## the log, the metrics, and the alerts in a real Prometheus
	$(RUN_ENV) cargo test $(LOCKED) --workspace --test e2e -- observability:: prometheus::

.PHONY: soak
soak: wasm envoy envoy-oldest ## the long tests in full: 100 key rotations, ten-minute outages, 1,000 reloads, 50 rounds of as many as may wait (40 minutes)
	@# One after the other: none takes the machine from another.
	for module in remote_keys reloads pending; do \
		USHER_SOAK=1 $(RUN_ENV) cargo test $(LOCKED) --workspace --test e2e -- $$module:: --skip istio_$$module:: \
			--nocapture --test-threads 2 || exit; \
	done

.PHONY: test-containers
test-containers: wasm envoy prometheus container-binaries ## make up, make story-up and their ends, where a container engine runs
	$(CONTAINERS) test

.PHONY: dashboard-picture
dashboard-picture: wasm envoy prometheus ## draw docs/dashboard.png again from a recorded run of three minutes
	tools/packages librsvg2-bin
	$(RUN_ENV) cargo run $(LOCKED) --package usher-dashboard -- target/dashboard.svg
	rsvg-convert --zoom 1.2 --output docs/dashboard.png target/dashboard.svg

.PHONY: differential
differential: wasm envoy ## native filters and Usher on generated policies and requests; PAIRS=20000, SEED=
	$(RUN_ENV) PAIRS="$(or $(PAIRS),20000)" SEED="$(SEED)" \
		cargo test $(LOCKED) --workspace --test e2e -- differential:: --nocapture

.PHONY: fuzz
fuzz: ## random inputs, by libFuzzer: each target for SECONDS=60, or the one of T=path; what fails stays below target/fuzz/crashes
	tools/fuzz $(or $(SECONDS),60) $(T)

.PHONY: authorization-cost
authorization-cost: ## instructions a request among 5 rules and among 5,000 (valgrind counts them)
	cargo run $(LOCKED) --release --package usher-core --example authorization_cost

.PHONY: linearity
linearity: ## instructions for growing requests and configurations (valgrind counts them): none grows faster than its input; ONLY="words of names"
	tools/packages valgrind
	@if command -v valgrind >/dev/null; then \
		cargo run $(LOCKED) --quiet --profile linearity --package usher-core --example linearity -- $(ONLY); \
	else tools/skip linearity "no valgrind here, so nothing was counted"; fi

.PHONY: test-istio
test-istio: wasm envoy envoy-oldest istio-models kubectl ## the manifests of istio/: Istio's models, kustomize, and a sidecar's chain in Envoy
	@start=$$(date +%s); $(RUN_ENV) cargo test $(LOCKED) --workspace --test e2e --test command -- \
		istio_manifests:: istio_remote_keys:: istio_sidecar:: && \
		echo "test-istio: passed in $$(($$(date +%s) - start)) s"

.PHONY: test-image
test-image: image ## the image in a real registry: pushed, pulled back, the same; and made twice, the same
	tools/packages docker-registry skopeo
	tools/test-image $(WASM) target/image

.PHONY: bare
bare: ## make run ONCE=1 and the module's tests in a fresh clone of HEAD on a bare machine: make, git, Python with pip, rustup
	tools/bare 'make run ONCE=1 && make check-wasm'

.PHONY: repro
repro: ## whether the module has the same bytes elsewhere: HEAD built in two folders, and in a container where an engine runs
	tools/repro

# The nightly workflow runs each of these on a machine of its own, and `make bare`.
.PHONY: nightly
nightly: toolchain ## what takes long, one after the other: hours
	$(MAKE) soak
	$(MAKE) differential PAIRS=100000
	$(MAKE) e2e-oldest
	$(MAKE) repro
	$(MAKE) fuzz SECONDS=1800
	$(MAKE) test-repeat N=10

.PHONY: e2e-oldest
e2e-oldest: ## the end-to-end tests that run the oldest Envoy
	$(MAKE) e2e T="oldest fault:: one_name:: pending::"

.PHONY: check-wasm
check-wasm: wasm ## the module's size, exports and imports
	$(RUN_ENV) cargo test $(LOCKED) --quiet --workspace --test e2e -- module:: --nocapture --test-threads 1

.PHONY: lint
lint: toolchain lint-fmt lint-layers lint-core lint-clippy lint-clippy-wasm lint-doc lint-deny lint-manifests ## every check that needs no run

.PHONY: lint-fmt
lint-fmt: ## formatting
	cargo fmt --all --check

.PHONY: lint-layers
lint-layers: ## which package may use which, the layers of core/src and src, and no circle among their files
	tools/layers

# A host of another kind, as a browser, links what has neither a file system nor a clock.
.PHONY: lint-core
lint-core: ## the core and the verbs for wasm32-unknown-unknown: they need no host of any kind
	@if command -v rustup >/dev/null; then rustup target add wasm32-unknown-unknown 2>/dev/null && \
		cargo check $(LOCKED) --package usher-core --package usher-verbs --target wasm32-unknown-unknown; \
	else tools/skip lint-core "no rustup here to get wasm32-unknown-unknown from"; fi

.PHONY: lint-clippy
lint-clippy: ## clippy for this machine: the core, the command, the demo, the tests
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

.PHONY: lint-clippy-wasm
lint-clippy-wasm: ## clippy for wasm, where alone the calls to the host are compiled
	tools/wasm-cargo clippy $(LOCKED) --package usher -- -D warnings

.PHONY: lint-doc
lint-doc: ## documentation without broken links
	RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --workspace --no-deps --document-private-items

.PHONY: lint-deny
lint-deny: ## licenses, sources and banned crates of the dependencies
	tools/deny check bans licenses sources

.PHONY: lint-manifests
lint-manifests: kubectl ## the manifests for Istio render, where there is a kubectl
	@if command -v kubectl >/dev/null; then kubectl kustomize istio/base >/dev/null && echo "istio/base renders"; \
	else tools/skip lint-manifests "no kubectl here to render istio/base"; fi

.PHONY: advisories
advisories: ## known vulnerabilities of the dependencies (asks the advisory database)
	tools/deny check advisories
