module github.com/semanode/sema

// The oldest Go that works: the tests need testing/synctest.
go 1.25.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // semanode bench: latencies in bounded memory
	github.com/anishathalye/porcupine v1.3.1 // tests of users: draws what is not linearizable; ours hold the verdict against it
	github.com/hashicorp/go-hclog v1.6.3 // the logger that raft speaks to
	github.com/hashicorp/raft v1.8.0 // consensus
	github.com/hashicorp/raft-boltdb/v2 v2.3.0 // log and votes on disk; not v2.3.1, which needs a package that go-metrics v0.7.0 (raft v1.8.0) dropped
	github.com/hashicorp/raft-wal v0.4.1 // log on disk in segments; not v0.4.2, which needs the same package as raft-boltdb v2.3.1; not v0.4.0, which loses its place when a follower's log is cut
	github.com/prometheus/client_golang v1.24.1 // metrics, in the format that monitoring reads; newest that works with Go 1.25
	github.com/prometheus/client_model v0.6.3 // tests: what a registry gathers
	github.com/spf13/cobra v1.10.2 // command line of semanode
	github.com/spf13/pflag v1.0.10 // under cobra: variables, files and docs go by its flags
	github.com/tidwall/btree v1.8.2 // ordered map that copies on write: lists in pages, snapshots beside writes
	go.etcd.io/bbolt v1.5.0 // under raft-boltdb, raised above what it asks for
	go.opentelemetry.io/otel v1.46.0 // tracing: attributes, and how a trace travels; newest that works with Go 1.25
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp v1.46.0 // semanode serve: sends spans
	go.opentelemetry.io/otel/sdk v1.46.0 // semanode serve, and tests: makes spans
	go.opentelemetry.io/otel/trace v1.46.0 // tracing: what spans are
	go.uber.org/goleak v1.3.0 // tests: no goroutine is left behind
	go.yaml.in/yaml/v3 v3.0.6 // config and access files; cobra requires the module anyway, and it requires no other
	golang.org/x/net v0.58.0 // newest that works with Go 1.25: semanode serve: bounds the connections of observers; tests: what every net.Conn must do (nettest), and bad HTTP/2
	golang.org/x/sys v0.47.0 // newest that works with Go 1.25: semanode lock: process groups, terminals; the log: fdatasync
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260819154853-08b0e4226688 // tests: a status with details that cannot be read
	google.golang.org/grpc v1.84.0 // the wire; newest that works with Go 1.25
	google.golang.org/protobuf v1.36.12 // the wire and the log
	pgregory.net/rapid v1.3.0 // tests: random command sequences
)

require (
	github.com/armon/go-metrics v0.4.1 // indirect
	github.com/benbjohnson/immutable v0.4.0 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/boltdb/bolt v1.3.1 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/coreos/etcd v3.3.27+incompatible // indirect
	github.com/coreos/go-systemd v0.0.0-20191104093116-d3cd4ed1dbcf // indirect
	github.com/coreos/pkg v0.0.0-20220810130054-c7d1c02cb6cf // indirect
	github.com/fatih/color v1.13.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.30.0 // indirect
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/go-metrics v0.7.0 // indirect
	github.com/hashicorp/go-msgpack/v2 v2.1.5 // indirect
	github.com/hashicorp/golang-lru v1.0.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mattn/go-colorable v0.1.12 // indirect
	github.com/mattn/go-isatty v0.0.14 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/common v0.71.0 // indirect
	github.com/prometheus/procfs v0.21.1 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.46.0 // indirect
	go.opentelemetry.io/otel/metric v1.46.0 // indirect
	go.opentelemetry.io/proto/otlp v1.11.0 // indirect
	golang.org/x/exp v0.0.0-20220827204233-334a2380cb91 // indirect
	golang.org/x/text v0.41.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260819154853-08b0e4226688 // indirect
)
