package main

import (
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/load"
	"github.com/semanode/sema/transport"
)

// What the commands print of answers that are hard to come by.
func TestOutput(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 4, 4, 5, 6000, time.FixedZone("CET", 3600))
	noLeader := transport.ClusterStatus{ClusterID: "c1", Nodes: []transport.NodeStatus{
		{ID: "n1", RaftAddr: "h1:1", GRPCAddr: "h1:2", State: "candidate", Term: 7, CommitIndex: 9, AppliedIndex: 8},
		{ID: "n2", RaftAddr: "h2:1", State: "unreachable", Err: "connection refused"},
	}}
	twoLeaders := transport.ClusterStatus{ClusterID: "c1", Nodes: []transport.NodeStatus{
		{ID: "n1", State: "leader", Leader: true, Term: 7, CommitIndex: 9},
		{ID: "n2", State: "leader", Leader: true, Term: 8, CommitIndex: 6},
	}}
	for _, tc := range []struct {
		name       string
		print      func(p printer) error
		text, json string
	}{
		{
			"no hold",
			func(p printer) error {
				return p.info(sema.Info{Status: sema.ReleasedInTheMeanTime, Name: "a"})
			},
			"status:  RELEASED_IN_THE_MEAN_TIME\nname:    a\n",
			`{"status":"RELEASED_IN_THE_MEAN_TIME","name":"a","owner":"","timeout":"0s","waiting":0}` + "\n",
		},
		{
			"another time zone, and a name that HTML would not like",
			func(p printer) error {
				return p.info(sema.Info{Status: sema.Acquired, Name: "<a&b>", Owner: "ö", Timeout: 90 * time.Second, Token: 1<<63 + 1, CreatedAt: at})
			},
			"status:   ACQUIRED\nname:     <a&b>\nowner:    ö\ntimeout:  1m30s\ntoken:    9223372036854775809\ncreated:  2026-01-02T03:04:05Z\n",
			`{"status":"ACQUIRED","name":"<a&b>","owner":"ö","timeout":"1m30s","token":"9223372036854775809","createdAt":"2026-01-02T03:04:05.000006Z","waiting":0}` + "\n",
		},
		{
			"a hold with a line",
			func(p printer) error {
				return p.info(sema.Info{Status: sema.OwnedBySomeoneElse, Name: "a", Owner: "x", Timeout: time.Second, Token: 7, Waiting: 12},
					sema.Ticket{Position: 1, Owner: "bob", Since: at}, sema.Ticket{Position: 2, Owner: "carol", Since: at})
			},
			"status:          OWNED_BY_SOMEONE_ELSE\nname:            a\nowner:           x\ntimeout:         1s\nholder's token:  7\nwaiting:         12\n" +
				"  1.             bob, since 2026-01-02T03:04:05Z\n  2.             carol, since 2026-01-02T03:04:05Z\n",
			`{"status":"OWNED_BY_SOMEONE_ELSE","name":"a","owner":"x","timeout":"1s","holderToken":"7","waiting":12,"line":[` +
				`{"position":1,"owner":"bob","since":"2026-01-02T03:04:05.000006Z"},{"position":2,"owner":"carol","since":"2026-01-02T03:04:05.000006Z"}]}` + "\n",
		},
		{
			"a measurement with all that can go wrong",
			func(p printer) error {
				return p.bench(benchJSON{load.Result{Mode: load.Handoff, Workers: 3, Rate: 0.5, Seconds: 1.5, Cycles: 3, CyclesPerSecond: 2, Samples: 1,
					P50Ms: 1.25, P99Ms: 2, MaxMs: 1234567, Errors: 2, ErrorTexts: []string{"x\ny"}, Unfinished: 4, UnfinishedOldestMs: 0.001}, 1})
			},
			"mode:        handoff\nworkers:     3, of 1 client\nrate:        0.5 due per second\ncycles:      3 in 1.5s\ncycles/s:    2.0\n" +
				"p50:         1.25 ms\np99:         2 ms\nmax:         1234567 ms\nerrors:      2\n  such as:   x; y\n" +
				"unfinished:  4, the oldest for 0.001 ms; they are in no latency\n",
			`{"cyclesPerSecond":2,"p50Ms":1.25,"p99Ms":2,"maxMs":1234567,"errors":2,"workers":3,"mode":"handoff","rate":0.5,"seconds":1.5,"cycles":3,` +
				`"samples":1,"unfinished":4,"unfinishedOldestMs":0.001,"errorTexts":["x\ny"],"clients":1}` + "\n",
		},
		{
			"a list with a line",
			func(p printer) error {
				return p.list([]sema.Info{{Status: sema.OwnedBySomeoneElse, Name: "a", Owner: "x", Timeout: time.Second, Token: 7, Waiting: 1, ExpiresAt: at}},
					map[string][]sema.Ticket{"a": {{Position: 1, Owner: "bob", Since: at}}})
			},
			"NAME  OWNER  TOKEN  TIMEOUT  EXPIRES               WAITING\n" +
				"a     x      7      1s       2026-01-02T03:04:05Z  1\n" +
				"  1.  bob    -      -        -                     since 2026-01-02T03:04:05Z\n",
			`{"semaphores":[{"status":"OWNED_BY_SOMEONE_ELSE","name":"a","owner":"x","timeout":"1s","holderToken":"7","expiresAt":"2026-01-02T03:04:05.000006Z","waiting":1,"line":[` +
				`{"position":1,"owner":"bob","since":"2026-01-02T03:04:05.000006Z"}]}]}` + "\n",
		},
		{
			"no leader",
			func(p printer) error { return p.status(noLeader) },
			"cluster c1\n\n" +
				"ID  STATE        TERM  COMMITTED  APPLIED  GRPC  RAFT  ERROR\n" +
				"n1  candidate    7     9          8        h1:2  h1:1  -\n" +
				"n2  unreachable  0     0          0        -     h2:1  connection refused\n",
			`{"clusterId":"c1","term":0,"commitIndex":0,"nodes":[` +
				`{"id":"n1","raftAddr":"h1:1","grpcAddr":"h1:2","leader":false,"state":"candidate","term":7,"commitIndex":9,"appliedIndex":8},` +
				`{"id":"n2","raftAddr":"h2:1","grpcAddr":"","leader":false,"state":"unreachable","term":0,"commitIndex":0,"appliedIndex":0,"error":"connection refused"}]}` + "\n",
		},
		{
			"two leaders, one of them deposed",
			func(p printer) error { return p.status(twoLeaders) },
			"cluster c1\n\n" +
				"ID  STATE   TERM  COMMITTED  APPLIED  GRPC  RAFT  ERROR\n" +
				"n1  leader  7     9          0        -     -     -\n" +
				"n2  leader  8     6          0        -     -     -\n",
			`{"clusterId":"c1","term":8,"commitIndex":6,"nodes":[` +
				`{"id":"n1","raftAddr":"","grpcAddr":"","leader":true,"state":"leader","term":7,"commitIndex":9,"appliedIndex":0},` +
				`{"id":"n2","raftAddr":"","grpcAddr":"","leader":true,"state":"leader","term":8,"commitIndex":6,"appliedIndex":0}]}` + "\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, format := range []struct {
				json bool
				want string
			}{{false, tc.text}, {true, tc.json}} {
				var out strings.Builder
				must(t, tc.print(printer{&out, format.json}))
				if out.String() != format.want {
					t.Errorf("printed\n%s, want\n%s", out.String(), format.want)
				}
			}
		})
	}
}

// An answer that cannot be written is no success.
func TestOutputThatFails(t *testing.T) {
	t.Parallel()
	info := sema.Info{Status: sema.Acquired, Name: "a", Token: 1}
	for _, json := range []bool{false, true} {
		p := printer{broken{}, json}
		for name, print := range map[string]func() error{
			"info":     func() error { return p.info(info) },
			"list":     func() error { return p.list([]sema.Info{info}, nil) },
			"released": func() error { return p.released("a", 1, true) },
			"status":   func() error { return p.status(transport.ClusterStatus{}) },
		} {
			if err := print(); err == nil {
				t.Errorf("%s with json %v does not say that it failed", name, json)
			}
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errDemo }
