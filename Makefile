# discompose: every target is described by `make help`.
GO       ?= go
# The target's system: a build for another one than Linux embeds Linux builds for agent and clients.
GOOS     ?= $(shell $(GO) env GOOS)
SCENARIO ?= kafka_broker_pause
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
PKG      := github.com/discompose/discompose
LDFLAGS  := -s -w -X $(PKG)/internal/cli.version=$(VERSION) -X $(PKG)/internal/cli.commit=$(COMMIT)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
FUZZTIME ?= 10s
# An end-to-end test that fails runs once more, if not more than three do; what then passes is named in FLAKY.
GOTESTSUM := gotest.tools/gotestsum@v1.13.0
E2EFORMAT ?= standard-quiet
FLAKY     ?= bin/flaky.txt
# The linter's version is the first line of its configuration.
LINT     := $(shell sed -n '1s/^\# //p' .golangci.yml)

.DEFAULT_GOAL := help
.PHONY: help build cross payload always chaos test unit e2e test-all race cover lint fmt fuzz generate generate-clean check bench known-bugs zoo zoo-image record clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(if $(filter-out linux,$(GOOS)),payload) ## build bin/discompose, static, with version and commit
	@GOOS=$(GOOS) $(BUILD) $(if $(filter-out linux,$(GOOS)),-tags payload) -o bin/discompose ./cmd/discompose

cross: payload ## build bin/<os>-<arch>/discompose for linux and darwin on amd64 and arm64
	@GOOS=darwin GOARCH=amd64 $(BUILD) -tags payload -o bin/darwin-amd64/discompose ./cmd/discompose
	@GOOS=darwin GOARCH=arm64 $(BUILD) -tags payload -o bin/darwin-arm64/discompose ./cmd/discompose

payload: internal/payload/linux-amd64.gz internal/payload/linux-arm64.gz

internal/payload/linux-%.gz: bin/linux-%/discompose
	@gzip -9nc $< >$@

# Go knows best whether they are up to date.
.PRECIOUS: bin/linux-%/discompose
bin/linux-%/discompose: always
	@GOOS=linux GOARCH=$* $(BUILD) -o $@ ./cmd/discompose

chaos: build ## run a scenario of the catalogue: make chaos SCENARIO=kafka_broker_pause
	@./bin/discompose run $(SCENARIO) $(ARGS)

unit: ## unit, CLI script and golden tests; no Docker needed
	$(GO) test ./...

e2e: build ## a sample of end-to-end tests on the real engine
	$(GO) run $(GOTESTSUM) --format $(E2EFORMAT) --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-report=$(FLAKY) \
	  --packages='./agent/... ./compose/... ./faults/... ./workload/... ./internal/imagetest ./e2e/...' -- -tags e2e -count=1 -p 1 -timeout 50m $(E2EFLAGS)

test: ## everything that must be green: vet, unit, fuzz smoke, a sample of e2e; says what it skipped and why
	@./e2e/test.sh

test-all: build ## every scenario of the catalogue; goes on where it was stopped
	@./e2e/all.sh

race: ## unit tests under the race detector (needs cgo)
	CGO_ENABLED=1 $(GO) test -race ./...

cover: ## unit test coverage, in coverage.out
	$(GO) test -coverprofile coverage.out ./...
	$(GO) tool cover -func coverage.out | tail -n 1

lint: ## golangci-lint, pinned, through the Go module proxy
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT) run

fmt: ## gofmt
	gofmt -w $$(git ls-files '*.go')

fuzz: ## fuzz the scenario parser for FUZZTIME
	$(GO) test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5x ./scenarios

generate: ## write the generated references in docs/reference
	$(GO) run ./cmd/gendoc

generate-clean: generate ## fail if a generated reference is not up to date
	@git diff --exit-code -- docs/reference || { echo 'docs/reference is stale: run make generate and commit it'; exit 1; }

check: fmt lint test generate-clean ## what CI runs

bench: build ## measure, and write docs/BENCHMARKS.md
	@./e2e/bench.sh

known-bugs: build ## reproduce bugs that real systems had: RUNS (5) runs of the version with each and without
	@./e2e/knownbugs/build.sh
	@$(GO) run ./e2e/trackrecord -runs $(or $(RUNS),5) -parallel $(or $(PARALLEL),1) $(if $(SEED),-seed $(SEED)) $(if $(ONLY),-only $(ONLY)) -out docs/TRACK_RECORD.md e2e/knownbugs/cases.toml

zoo: build zoo-image ## convict every animal of the zoo of its planted bug and acquit its twin: RUNS (10) runs of each, PARALLEL (4) at a time
	@$(GO) run ./e2e/trackrecord -runs $(or $(RUNS),10) -parallel $(or $(PARALLEL),4) $(if $(SEED),-seed $(SEED)) -runs-dir runs/zoo $(if $(ONLY),-only $(ONLY)) -out docs/TRACK_RECORD.md e2e/zoo/cases.toml

zoo-image: ## make the image of the zoo's animals: one static program, nothing is pulled
	@CGO_ENABLED=0 GOOS=linux $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/zoo/animal ./e2e/zoo/animal
	@tar -C bin/zoo -c animal | docker import --message 'the zoo of discompose' - discompose-zoo >/dev/null

record: ## save a run for the judge's tests: make record RUN=runs/latest NAME=kafka-pause
	@test -n "$(NAME)" || { echo 'make record: give NAME=...'; exit 2; }
	@mkdir -p oracle/testdata/runs/$(NAME) && cp -L $(or $(RUN),runs/latest)/run.json $(or $(RUN),runs/latest)/ledger.sqlite $(or $(RUN),runs/latest)/verdict oracle/testdata/runs/$(NAME)/

clean: ## remove what make built; runs/ stays
	rm -rf bin coverage.out internal/payload/*.gz
