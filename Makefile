# The commands of the README, for people and for CI.
tool = go tool -modfile=tools/go.mod

.PHONY: test postgres race chaos sabotage lint generate fuzz ci

test:
	go test ./...

# The fencing recipes against a PostgreSQL that the tests start; skipped without one.
postgres:
	cd fence/postgrestest && go test ./...

# Clusters under faults, for DURATION of virtual time. It ends with what was done.
DURATION ?= 2000h
chaos:
	go test ./testcluster -run 'TestChaos$$' -v -timeout 0 -duration $(DURATION) $(if $(SEED),-seed $(SEED))

# Promises broken on purpose, to see that the verdicts of chaos notice.
sabotage:
	go test -tags sabotage -run Sabotage -v ./testcluster

race:
	go test -race ./...

lint:
	gofmt -l .
	go vet ./...
	$(tool) staticcheck ./...

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
