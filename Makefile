# make alone lists what there is. Everything needed and missing is installed on the way (see deploy/install-*.sh).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Run, not installed, at one pinned version: the first run compiles it (about a minute), later ones find it in Go's cache.
GOLANGCI_LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# How many packages are tested at a time. Each brings a PostgreSQL of its own, and some of them measure time.
TEST_PACKAGES ?= 2

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: setup build ## start the service here, with a database of its own (ARGS="--help" for its flags)
	@exec bin/tidings serve $(ARGS)

.PHONY: build
build: ## compile bin/tidings
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)" -o bin/tidings ./cmd/tidings

.PHONY: test
test: setup setup-test vet ## run every test with the race detector (TESTFLAGS="-run Resume -v" to choose)
	go test -race -count=1 -timeout 20m -p $(TEST_PACKAGES) $(TESTFLAGS) ./...
	cd deploy/checks && go test -count=1 -timeout 10m $(TESTFLAGS) ./...

.PHONY: test-postgres
test-postgres: setup setup-test ## run the tests of the SQL with another PostgreSQL (VERSION=14 to 18, or PROGRAMS=its bin directory)
	TIDINGS_TEST_POSTGRES=$(or $(PROGRAMS),$(CURDIR)/db/testdata/npm/node_modules/postgres-$(or $(VERSION),$(error say which: make test-postgres VERSION=18))/native/bin) \
		go test -count=1 -timeout 20m $(TESTFLAGS) ./triggers ./db

.PHONY: test-short
test-short: setup ## run the quick tests, without the race detector
	go test -short -p $(TEST_PACKAGES) $(TESTFLAGS) ./...

.PHONY: bench
bench: setup ## measure, and write docs/benchmarks.md and its plots (BENCHFLAGS="-help" for what can be chosen)
	go run ./cmd/benchmarks -out docs/benchmarks.md $(BENCHFLAGS)

.PHONY: faults
faults: setup ## break things while clients listen, and write docs/reliability.md (FAULTFLAGS="--help" for what can be chosen)
	@deploy/install-test-tools.sh faults
	go run ./cmd/faults --output docs/reliability.md $(FAULTFLAGS)

.PHONY: vet
vet:
	go vet ./...
	cd deploy/checks && go vet ./...

.PHONY: lint
lint: ## check the code against .golangci.yml
	$(GOLANGCI_LINT) run ./...
	cd deploy/checks && $(GOLANGCI_LINT) run --config ../../.golangci.yml ./...

.PHONY: fmt
fmt: ## format the code
	$(GOLANGCI_LINT) fmt ./...
	cd deploy/checks && $(GOLANGCI_LINT) fmt --config ../../.golangci.yml ./...

.PHONY: generate
generate: ## write the generated code anew
	go generate ./...

.PHONY: graphiql
graphiql: ## renew the files of GraphiQL, which the service brings (needs npm)
	@deploy/update-graphiql.sh

.PHONY: page-libraries
page-libraries: ## renew the libraries that the pages are made with (needs npm)
	@deploy/update-page.sh

.PHONY: setup
setup: ## install PostgreSQL's binaries if they are missing
	@deploy/install-postgres.sh

.PHONY: setup-test
setup-test: ## install what only the tests need if it is missing: a C compiler, Chromium, Node and GraphQL's clients
	@deploy/install-test-tools.sh

.PHONY: clean
clean: ## remove what was built; databases stay
	rm -rf bin
	rm -f coverage.out coverage.html *.test *.prof
