# Two commands do everything, including set-up: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test soak measure bench generate image node-up node-down
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/scribe-agent/target

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target what; do printf '  make %-10s  %s\n' "$$target" "$$what"; done

demo: ## replicate a real database's volume on a Kubernetes node of its own (or on KUBECONFIG with IMAGE and DB_IMAGE)
	@tests/demo/run

demo-down: ## end the demo and remove what it left
	@tests/demo/down

test: ## every check there is, on a node of its own
	@tests/tools/suite

soak: ## for long: 20,000 random scripts of decisions of each kind, every way that a sync can go, 100,000 histories of a remote, 10,000 pushes of packs, the mover against other S3 servers
	@# Freed memory is kept: to give it back and to fetch it again is a fifth of the time of a history.
	@MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_MMAP_THRESHOLD_=100000000 MALLOC_TOP_PAD_=4000000 \
	  SIMULATION_SEEDS=$${SIMULATION_SEEDS:-100000} cargo test --locked --profile soak --package scribe-mover --test simulation -- --nocapture
	@PACKS_PUSHES=$${PACKS_PUSHES:-10000} cargo test --locked --profile soak --package scribe-mover --test packs_policy -- --nocapture
	@PROPTEST_CASES=20000 SEARCH_TROUBLES=5 cargo test --locked --profile soak --test property -- --nocapture
	@LONG=1 tests/tools/s3-servers versitygw
	@LONG=1 tests/tools/s3-servers seaweedfs

measure: ## what replication costs, as the table of docs/performance-tables.md
	@tests/tools/measure

bench: ## what a push and a pull cost beside VolSync's procedure; ARGS=--rivals beside restic, kopia and others, --aims what is aimed at and what is met; --quick for small sets
	@tests/tools/bench $(ARGS)

generate: ## write the files that are generated from the code (CRDs, docs/reference.md); tests fail when they are out of date
	@UPDATE_GENERATED=1 cargo test --locked --quiet --test generated

image: ## the agent's image as an archive; PROFILE=dev is quicker
	@tests/cluster/images/agent

node-up: ## a Kubernetes node to develop on, with the images loaded; NODE_NAME names it
	@images=$$(tests/cluster/images/all) && tests/cluster/up $$images

node-down: ## end that node
	@tests/cluster/down
