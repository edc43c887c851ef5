# The commands of the README, for people and for CI.
tool = go tool -modfile=tools/go.mod

.PHONY: build reproducible test postgres bench size race chaos disk sabotage lint vulncheck generate fuzz ci

# A static binary. The same commit makes the same bytes, wherever and whenever. Sources
# without their history have to be told what they are: VERSION=v1.2.3 COMMIT=… DATE=….
OUT ?= semanode
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=true -o $(OUT) -ldflags "-s -w $(if $(VERSION),-X main.buildVersion=$(VERSION)) \
		$(if $(COMMIT),-X main.buildCommit=$(COMMIT)) $(if $(DATE),-X main.buildDate=$(DATE))" ./cmd/semanode

# Two builds of the last commit, in two places, without a cache in common, byte by byte.
reproducible:
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for copy in one another; do \
		git clone -q . "$$dir/$$copy"; \
		GOCACHE="$$dir/cache-$$copy" $(MAKE) -s -C "$$dir/$$copy" build OUT="$$dir/$$copy.bin"; \
	done; \
	cmp "$$dir/one.bin" "$$dir/another.bin"; "$$dir/one.bin" version; sha256sum "$$dir/one.bin"

test:
	go test ./...

# The fencing recipes against a PostgreSQL that the tests start; skipped without one.
postgres:
	cd fence/postgrestest && go test ./...

# Sema beside its peers on this machine, into docs/benchmarks.md. BENCH has flags, such as
# BENCH='-only sema,etcd -rounds 1'; -help lists them.
bench:
	cd bench && go run . $(BENCH)

# What a million holds cost, into docs/size.md. SIZE has flags, such as
# SIZE='-only latency,touch -out ""'; -help lists them.
size:
	cd bench && go run ./size $(SIZE)

# Clusters under faults, for DURATION of virtual time. It ends with what was done.
DURATION ?= 2000h
chaos:
	go test ./testcluster -run 'TestChaos$$' -v -timeout 0 -duration $(DURATION) $(if $(SEED),-seed $(SEED))

# Power cuts, full disks, damaged logs and killed conversions, TIMES each. As root.
TIMES ?= 200
disk:
	SEMA_REQUIRE_CRASHDISK=1 go test ./cluster -run 'TestPowerCuts|TestFullDisk|TestDamagedTails|TestConvertIsKilled' -v -timeout 0 -parallel 1 \
		-cuts $(TIMES) -fills $(TIMES) -tails $(TIMES) -kills $(TIMES)
	go test ./internal/disklog -v -timeout 0 -runs $(TIMES)

# Promises broken on purpose, to see that the verdicts of chaos notice.
sabotage:
	go test -tags sabotage -run Sabotage -v ./testcluster ./cluster

race:
	go test -race ./...

lint:
	gofmt -l .
	go vet ./...
	$(tool) staticcheck ./...

# Known faults of what is imported and called, in all modules. Needs to reach vuln.go.dev,
# or a copy: VULNDB=file:///path/to/vulndb.
VULNDB ?= https://vuln.go.dev
vulncheck:
	$(tool) govulncheck -db $(VULNDB) ./...
	cd bench && go tool -modfile=../tools/go.mod govulncheck -db $(VULNDB) ./...
	cd fence/postgrestest && go tool -modfile=../../tools/go.mod govulncheck -db $(VULNDB) ./...

# Go code from proto/, with the plugins that tools/go.mod pins.
generate:
	$(tool) buf lint
	$(tool) buf generate

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 60s
fuzz:
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

ci:
	.ci/run
