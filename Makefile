# The commands of the README, for people and for CI.
tool = go tool -modfile=tools/go.mod

.PHONY: test postgres race lint generate fuzz ci

test:
	go test ./...

# The fencing recipes against a PostgreSQL that the tests start; skipped without one.
postgres:
	cd fence/postgrestest && go test ./...

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
