# The project's commands. `make` alone lists them.
# `make run` and `make test` need Go, git and make, and nothing else: no C compiler.

GO ?= go
# Where `make run` keeps the simulated OS's state.
STATE ?= build/state
# How long each fuzz target runs, how often each benchmark, and for how long.
FUZZTIME ?= 10s
COUNT ?= 6
BENCHTIME ?= 1s

# The mode whose chance comes from a seed; it never reaches an ordinary binary.
TAG := insecure_deterministic
# The commit that a binary is built from: it stands in traces, which are refused by any other.
STAMP = -X main.commit=$(shell git describe --always --abbrev=40 --exclude '*' --dirty=-changed 2>/dev/null)
# The packages with a test that carries the tag.
TAGGED = $(sort $(dir $(shell grep -rlsE --include='*_test.go' '^//go:build.*$(TAG)' actors capability cmd ipc services tests)))
# Benchmarks write to the disk that the repository is on.
BENCH = TMPDIR=$(CURDIR)/build/_tmp $(GO) test -run '^$$' -bench . -benchmem
# The nested module with the heavy peers, and the tools' own module files.
PEERS := tests/peers
TOOLS := $(CURDIR)/.ci/tools/go.mod
BUF := $(CURDIR)/.ci/buf/go.mod

export CGO_ENABLED := 0

# What `make explore` explores, and what `make mutants` does for each mistake.
SEEDS ?= 10000
FAULTS ?= crash,power,disk,delay,drop,exhaust
MUTANT_SEEDS ?= 600

.PHONY: help run build sim test explore twice kill crash residue mutants vectors docs race vet fuzz bench bench-once proto proto-check tidy clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

run: build ## build, boot the simulated OS on STATE and show the demonstration
	@mkdir -p $(dir $(STATE))
	bin/nexus-sim demo --state $(STATE)

build: ## build bin/nexus-sim
	$(GO) build -trimpath -ldflags '$(STAMP)' -o bin/nexus-sim ./cmd/nexus-sim

sim: ## build bin/nexus-sim-insecure, the same with chance from a seed
	$(GO) build -trimpath -ldflags '$(STAMP)' -tags $(TAG) -o bin/nexus-sim-insecure ./cmd/nexus-sim

test: ## run all tests, then those of the insecure_deterministic mode, then the schemas and Wycheproof's vectors
	$(GO) test ./...
	$(if $(TAGGED),$(GO) test -tags $(TAG) $(addprefix ./,$(TAGGED)))
	cd $(PEERS) && $(GO) test ./schema ./wycheproof

explore: sim ## look for seeds under which a promise is not kept: SEEDS, FAULTS
	bin/nexus-sim-insecure explore --seeds $(SEEDS) --faults $(FAULTS)

twice: sim ## explore SEEDS, each of them twice, and compare console, trace and disk
	bin/nexus-sim-insecure explore --seeds $(SEEDS) --faults $(FAULTS) --twice

mutants: ## plant each known mistake in a copy of the sources; all must be caught
	$(GO) run ./tests/mutants --seeds $(MUTANT_SEEDS)

vectors: ## make tests/vectors/*.json again, and list what they hold
	$(GO) run ./tests/vectors/gen

docs: ## make the pictures in docs/ again
	$(GO) test -tags $(TAG) ./tests/pictures -update

race: ## run all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

RUNS = 50
residue: ## scan RUNS processes of the shipped binary for what they leave of secrets
	$(GO) test -count=1 -timeout 60m ./tests/residue -runs $(RUNS) -v

KILLS = 500

kill: ## kill the binary while apps write, KILLS times; all that was acknowledged must be there
	$(GO) test ./cmd/nexus-sim -run '^TestKill$$' -count 1 -timeout 60m -v -kills $(KILLS)

crash: ## cut the power and fail the disk at every call of a long script, with every loss: long
	$(GO) test ./tests/crash -count 1 -timeout 120m -v -full

vet: ## gofmt, go vet and staticcheck, with and without the tag
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .); test -z "$$files" || { echo "gofmt would change:" $$files; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags $(TAG) ./...
	cd $(PEERS) && $(GO) vet ./...
	$(GO) tool -modfile=$(TOOLS) staticcheck ./...
	$(GO) tool -modfile=$(TOOLS) staticcheck -tags $(TAG) ./...
	cd $(PEERS) && $(GO) tool -modfile=$(TOOLS) staticcheck ./...

fuzz: ## run every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

bench: ## run all benchmarks beside their peers, into build/bench.txt, and compare
	@mkdir -p build/_tmp
	$(BENCH) -count $(COUNT) -benchtime $(BENCHTIME) ./... >build/bench.txt || { tail -n 30 build/bench.txt; exit 1; }
	cd $(PEERS) && $(BENCH) -count $(COUNT) -benchtime $(BENCHTIME) . >$(CURDIR)/build/peers.txt || { tail -n 30 $(CURDIR)/build/peers.txt; exit 1; }
	cat build/peers.txt >>build/bench.txt
	$(GO) tool -modfile=$(TOOLS) benchstat -filter '-/peer:/./ -.name:UnderFlood' build/bench.txt
	$(GO) tool -modfile=$(TOOLS) benchstat -filter '.name:UnderFlood' -row /op -col /flood build/bench.txt
	$(GO) tool -modfile=$(TOOLS) benchstat -filter '/peer:/./' -table .name -row '/callers /endpoints /size /writers' -col /peer build/bench.txt

bench-once: ## run every benchmark once, to see that it works
	@mkdir -p build/_tmp
	$(BENCH) -benchtime 1x ./...
	cd $(PEERS) && $(BENCH) -benchtime 1x .

# The folders with schemas. All are as deep as ipc/wire, whose configuration of buf they share.
SCHEMAS := ipc/wire tests/hellod
GENERATE = $(GO) tool -modfile=$(BUF) buf generate --config ../../ipc/wire/buf.yaml --template ../../ipc/wire/buf.gen.yaml

proto: ## make every *.pb.go again from the schemas
	@for dir in $(SCHEMAS); do (cd $$dir && $(GENERATE)) || exit 1; done

proto-check: ## fail if a *.pb.go is not what `make proto` makes
	@rm -rf build/_proto
	@for dir in $(SCHEMAS); do (cd $$dir && $(GENERATE) -o $(CURDIR)/build/_proto/$$dir) || exit 1; done
	@for f in $(SCHEMAS:%=%/*.proto); do cmp $${f%.proto}.pb.go build/_proto/$${f%.proto}.pb.go || exit 1; done

tidy: ## bring go.mod and go.sum of both modules up to date
	$(GO) mod tidy
	cd $(PEERS) && $(GO) mod tidy

clean: ## remove what was built, state directories below build/ included
	rm -rf bin build
