package transport_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// tickets are lines of any length.
var tickets = rapid.Custom(func(t *rapid.T) (line []sema.Ticket) {
	for range rapid.IntRange(0, 5).Draw(t, "length") {
		line = append(line, sema.Ticket{
			Position: int(rapid.Uint32().Draw(t, "position")),
			Owner:    rapid.String().Draw(t, "owner"),
			Since:    time.Unix(0, rapid.Int64Range(0, math.MaxInt64).Draw(t, "since")).UTC(),
		})
	}
	return line
})

// travelled is the message after it was encoded and decoded.
func travelled[M proto.Message](t interface{ Fatal(...any) }, m M) M {
	encoded, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(encoded, got); err != nil {
		t.Fatal(err)
	}
	return got.(M)
}

// lineTeller tells what the test has just drawn.
type lineTeller struct {
	fakenode.Node
	got  transport.GetResult
	page transport.ListResult
}

func (b *lineTeller) Get(context.Context, transport.GetRequest) (transport.GetResult, error) {
	return b.got, nil
}

func (b *lineTeller) List(context.Context, transport.ListRequest) (transport.ListResult, error) {
	return b.page, nil
}

// What a backend tells of its lines is what a client reads, whatever it is.
func TestLinesCrossUnchanged(t *testing.T) {
	b := &lineTeller{}
	local := transport.NewLocal(transport.ServerConfig{NodeID: "n1", Backend: b})
	rapid.Check(t, func(t *rapid.T) {
		b.got = transport.GetResult{Info: cannedInfo, Line: tickets.Draw(t, "line")}
		b.got.Info.Waiting = int(rapid.Uint32().Draw(t, "waiting"))
		b.page = transport.ListResult{}
		for _, name := range rapid.SliceOfDistinct(rapid.String(), rapid.ID).Draw(t, "names") {
			b.page.Infos = append(b.page.Infos, sema.Info{Name: name, Waiting: len(name)})
			if line := tickets.Draw(t, "line"); line != nil {
				if b.page.Lines == nil {
					b.page.Lines = map[string][]sema.Ticket{}
				}
				b.page.Lines[name] = line
			}
		}
		got, err := local.Get(t.Context(), &semav1.GetRequest{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		got = travelled(t, got)
		if info, line := transport.InfoFromWire(got.GetInfo()), transport.LineFromWire(got.GetLine()); info != b.got.Info || !reflect.DeepEqual(line, b.got.Line) {
			t.Fatalf("%+v came back as %+v and %+v", b.got, info, line)
		}
		page, err := local.List(t.Context(), new(semav1.ListRequest))
		if err != nil {
			t.Fatal(err)
		}
		page = travelled(t, page)
		for i := range page.GetLines()[min(1, len(page.GetLines())):] {
			if before, name := page.GetLines()[i].GetName(), page.GetLines()[i+1].GetName(); before >= name {
				t.Fatalf("the line of %q comes before that of %q", before, name)
			}
		}
		if lines := transport.LinesFromWire(page.GetLines()); !reflect.DeepEqual(lines, b.page.Lines) {
			t.Fatalf("%+v came back as %+v", b.page.Lines, lines)
		}
		for i, info := range transport.InfosFromWire(page.GetInfos()) {
			if info != b.page.Infos[i] {
				t.Fatalf("%+v came back as %+v", b.page.Infos[i], info)
			}
		}
	})
}

func TestWhatALineLacksIsZero(t *testing.T) {
	if got := transport.LineFromWire([]*semav1.Ticket{nil, {}}); len(got) != 2 || got[0] != (sema.Ticket{}) || got[1] != got[0] {
		t.Errorf("empty tickets became %+v", got)
	}
	if got := transport.LineFromWire(nil); got != nil {
		t.Errorf("no line became %+v", got)
	}
	if got := transport.LinesFromWire([]*semav1.Line{nil}); len(got) != 1 || got[""] != nil {
		t.Errorf("an empty line became %+v", got)
	}
}

// The whole way: who waits, as an administrator sees it over the network.
func TestGetAndListTellWhoWaits(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	ctx := within(t, 20*time.Second)
	holdA(t, leader.client)
	began := time.Now()
	for client := range byte(3) {
		expectPlace(t, startWait(t, ctx, leader.client, waitForA(client+1, false)), uint32(client)+1, "me")
	}
	follower.follows("n1", leader.addr)
	for _, tc := range []struct{ line, want int }{{0, 0}, {2, 2}, {transport.MaxPageSize, 3}} {
		got, err := follower.client.Get(ctx, &semav1.GetRequest{Name: "a", Line: uint32(tc.line)})
		if err != nil {
			t.Fatal(err)
		}
		page, err := follower.client.List(ctx, &semav1.ListRequest{Line: uint32(tc.line)})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := transport.InfoFromWire(got.GetInfo()).Waiting, transport.InfosFromWire(page.GetInfos())[0].Waiting; a != 3 || b != 3 {
			t.Errorf("get tells of %d who wait, list of %d, want 3", a, b)
		}
		line := transport.LineFromWire(got.GetLine())
		if len(line) != tc.want || !reflect.DeepEqual(transport.LinesFromWire(page.GetLines())["a"], line) {
			t.Fatalf("asked for %d, got %+v, and in the list %v", tc.line, line, page.GetLines())
		}
		for i, ticket := range line {
			if want := waitForA(byte(i+1), false).GetOwner(); ticket.Position != i+1 || ticket.Owner != want || ticket.Since.Before(began) || ticket.Since.After(time.Now()) {
				t.Errorf("place %d is %+v, want that of %s", i+1, ticket, want)
			}
		}
	}
}

func TestLinesHaveLimits(t *testing.T) {
	node := serve(t, "n1", nil)
	ctx := within(t, 20*time.Second)
	refused := func(what string, err error) {
		t.Helper()
		var invalid *sema.InvalidError
		if !errors.As(transport.ErrorFromStatus(err), &invalid) || invalid.Field != "line" {
			t.Errorf("%s: %v, want the field line refused", what, err)
		}
	}
	for _, n := range []uint32{transport.MaxPageSize + 1, 1<<31 - 1, 1 << 31, math.MaxUint32} {
		_, err := node.client.Get(ctx, &semav1.GetRequest{Name: "a", Line: n})
		refused("get", err)
		_, err = node.client.List(ctx, &semav1.ListRequest{Line: n})
		refused("list", err)
	}
	for _, n := range []int{-1, math.MinInt, transport.MaxPageSize + 1} {
		refused("get in the process", transport.GetRequest{Name: "a", Line: n}.Validate())
		refused("list in the process", transport.ListRequest{Line: n}.Validate())
	}
	for _, n := range []int{0, 1, transport.MaxPageSize} {
		if err := errors.Join(transport.GetRequest{Name: "a", Line: n}.Validate(), transport.ListRequest{Line: n}.Validate()); err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
	if n := len(node.Requests()); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}
