# `make check` is quick and needs no network beyond crates; `make test` proves everything, against real brokers and
# clients that it fetches and builds itself (into .cache/ and target/).

SHELL := bash

# The tests start brokers and clients of their own and wait for them: fewer leave cores idle, more have none left.
TEST_THREADS ?= 4
CARGO ?= cargo
# All that is checked and tested; a program that is released is built without it.
WHOLE = --workspace --locked --features bench-harness/measurements
# The programs as they are released: with the library's insides private, the compiler names what nobody uses.
LINT_RELEASED = $(CARGO) clippy --workspace --lib --bins --locked -- -D warnings
# Without the providers that may be left out.
LINT_SMALLEST = $(CARGO) clippy --package sealwire --lib --bins --locked --no-default-features -- -D warnings

.PHONY: build check quickstart test perf-check mutants simulate canaries

# What `--version` says of the commit; without git, nothing.
build: export SEALWIRE_COMMIT ?= $(shell git describe --always --abbrev=12 --dirty --exclude='*' 2>/dev/null)
build:
	$(CARGO) build --release --workspace --locked

# Both programs in one build, by a profile that is for trying; librdkafka takes what it is compiled with from here. With ARGUMENTS=--tls
# clients speak TLS too, with ARGUMENTS="--kms vault" an OpenBao keeps the keys, with ARGUMENTS=--keep it goes on until Ctrl-C.
quickstart: export CFLAGS ?= -O1 -g0
quickstart:
	$(CARGO) build --profile quick --workspace --locked
	$(or $(CARGO_TARGET_DIR),target)/quick/bench-harness quickstart $(ARGUMENTS)

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WHOLE) --all-targets -- -D warnings
	$(LINT_RELEASED)
	$(CARGO) test $(WHOLE) --lib --bins

test:
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WHOLE) --all-targets -- -D warnings
	$(LINT_RELEASED)
	$(LINT_SMALLEST)
	@mkdir -p target
	set -o pipefail; status=0; RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test $(WHOLE) --no-fail-fast 2>&1 \
	    | tee target/test.log || status=$$?; awk -f tests/summary.awk target/test.log; \
	    [ $$status -eq 0 ] || tests/again.sh target/test.log $(CARGO) test $(WHOLE)

# Instructions, allocations and copied bytes against perf/budgets.toml; SCENARIO=NAME shows where the instructions of one are.
# An incremental build is another program: less of one crate is compiled into the next.
perf-check: export CARGO_INCREMENTAL = 0
perf-check:
	$(CARGO) run --quiet --profile counted --locked --example budgets -- $(SCENARIO)

# Mistakes put in on purpose, one at a time, which unit tests have to notice: most of a day for all. docs/testing.md says where.
MUTANTS ?= src/crypto src/envelope src/keys/ledger src/record_batch src/rules
mutants:
	CARGO_TARGET_DIR=$(abspath target/mutants) CARGO_INCREMENTAL=1 $(CARGO) mutants --package sealwire --output target --no-shuffle \
	    $(foreach folder,$(MUTANTS),--file '$(folder).rs' --file '$(folder)/**')

# Worlds around the whole program, as many as are wanted, from seed FIRST on; docs/testing.md says what becomes of a failure.
SEEDS ?= 10000
FIRST ?= 0
simulate:
	SEALWIRE_SIMULATION_SEEDS=$(SEEDS) SEALWIRE_SIMULATION_FIRST=$(FIRST) $(CARGO) test $(WHOLE) --test simulation -- \
	    --nocapture world::proxied::nothing_is_lost

# Faults that were mended are put back, one after the other, and have to be found.
canaries:
	tests/simulation/canaries.sh $(CANARIES)
