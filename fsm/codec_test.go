package fsm_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed is a log entry with this body and the header that belongs to it.
func sealed(body []byte) []byte {
	entry := binary.LittleEndian.AppendUint32([]byte{1}, crc32.Checksum(body, castagnoli))
	return append(entry, body...)
}

// TestCodecMatchesSchema holds the codec that is written by hand against the one
// that is generated from the schema, in both directions: the same values, and
// the same bytes.
func TestCodecMatchesSchema(t *testing.T) {
	t.Run("batch", rapid.MakeCheck(func(t *rapid.T) {
		batch := drawBatch(t)
		entry, err := fsm.AppendBatch(nil, batch)
		if err != nil {
			t.Fatal(err)
		}
		if got := generatedBatch(t, entry[5:]); !sameBatch(got, batch) {
			t.Fatalf("the generated decoder reads\n%+v, want\n%+v", got, batch)
		}
		got, err := fsm.DecodeBatch(sealed(marshal(t, batchMessage(batch))))
		if err != nil || !sameBatch(got, batch) {
			t.Fatalf("of the generated encoder's bytes is read\n%+v, %v, want\n%+v", got, err, batch)
		}
	}))
	t.Run("snapshot", func(t *testing.T) {
		snapshot := snapshotOf(t, withAccounts(t))
		message := decodeSnapshot(t, snapshot)
		if err := knownOnly(message.ProtoReflect()); err != nil {
			t.Fatal(err)
		}
		if got := snapshotFile(t, message); string(got) != string(snapshot) {
			t.Fatalf("the generated encoder writes\n%x, want\n%x", got, snapshot)
		}
		if got := snapshotOf(t, restore(t, snapshotFile(t, message))); string(got) != string(snapshot) {
			t.Fatalf("of the generated encoder's bytes becomes\n%x, want\n%x", got, snapshot)
		}
	})
}

func sameBatch(a, b fsm.Batch) bool {
	return a.Stamp == b.Stamp && slices.EqualFunc(a.Commands, b.Commands, func(a, b fsm.Command) bool {
		same := (a.Account == nil) == (b.Account == nil) && (a.Account == nil || *a.Account == *b.Account)
		a.Account, b.Account = nil, nil
		return same && a == b
	})
}

// drawBatch draws a batch of any values that the format can carry.
func drawBatch(t *rapid.T) fsm.Batch {
	text := func(most int) *rapid.Generator[string] { return rapid.StringN(0, -1, most) }
	moment := rapid.Map(rapid.Int64Range(0, math.MaxInt64), func(n int64) fsm.Time { return fsm.Time(n) })
	commands := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fsm.Command {
		return fsm.Command{
			Kind:     fsm.Kind(rapid.IntRange(1, 6).Draw(t, "kind")),
			Name:     text(sema.MaxNameBytes).Draw(t, "name"),
			Owner:    text(sema.MaxOwnerBytes).Draw(t, "owner"),
			Timeout:  time.Duration(rapid.Int64().Draw(t, "timeout")),
			Token:    rapid.Uint64().Draw(t, "token"),
			Deadline: moment.Draw(t, "deadline"),
			Attempt: sema.Attempt{
				Client:     clientID(rapid.Byte().Draw(t, "client")),
				Seq:        rapid.Uint64().Draw(t, "seq"),
				LowestOpen: rapid.Uint64().Draw(t, "lowest open"),
			},
			Wait:    rapid.Bool().Draw(t, "wait"),
			Account: drawAccount(t),
		}
	}), 0, 4)
	return fsm.Batch{
		Stamp:    fsm.Stamp{Term: rapid.Uint64().Draw(t, "term"), Clock: moment.Draw(t, "clock"), Wall: rapid.Int64().Draw(t, "wall")},
		Commands: commands.Draw(t, "commands"),
	}
}

// drawAccount draws an account, or none.
func drawAccount(t *rapid.T) *fsm.Account {
	if !rapid.Bool().Draw(t, "account") {
		return nil
	}
	limit := rapid.Uint32()
	return &fsm.Account{Identity: rapid.StringN(1, -1, 64).Draw(t, "identity"), Holds: limit.Draw(t, "holds"), Tickets: limit.Draw(t, "tickets"),
		AllHolds: limit.Draw(t, "all holds"), AllNames: limit.Draw(t, "all names")}
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface{ Fatal(...any) }

func marshal(t fataler, message proto.Message) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func batchMessage(b fsm.Batch) *logv1.Batch {
	message := &logv1.Batch{Term: b.Term, Clock: int64(b.Clock), Wall: b.Wall}
	for _, c := range b.Commands {
		m := &logv1.Command{Kind: logv1.Kind(c.Kind), Name: c.Name, Owner: c.Owner, Timeout: int64(c.Timeout),
			Token: c.Token, Deadline: int64(c.Deadline), Seq: c.Attempt.Seq, LowestOpen: c.Attempt.LowestOpen, Wait: c.Wait}
		if !c.Attempt.Client.IsZero() {
			m.Client = c.Attempt.Client[:]
		}
		if a := c.Account; a != nil {
			m.Account = &logv1.Account{Identity: a.Identity, Holds: a.Holds, Tickets: a.Tickets, AllHolds: a.AllHolds, AllNames: a.AllNames}
		}
		message.Commands = append(message.Commands, m)
	}
	return message
}

// generatedBatch reads a body with the generated decoder.
func generatedBatch(t fataler, body []byte) fsm.Batch {
	var m logv1.Batch
	if err := proto.Unmarshal(body, &m); err != nil {
		t.Fatal("the generated decoder: ", err)
	}
	if err := knownOnly(m.ProtoReflect()); err != nil {
		t.Fatal(err)
	}
	b := fsm.Batch{Stamp: fsm.Stamp{Term: m.Term, Clock: fsm.Time(m.Clock), Wall: m.Wall}}
	for _, m := range m.Commands {
		c := fsm.Command{Kind: fsm.Kind(m.Kind), Name: m.Name, Owner: m.Owner, Timeout: time.Duration(m.Timeout), Token: m.Token,
			Deadline: fsm.Time(m.Deadline), Attempt: sema.Attempt{Seq: m.Seq, LowestOpen: m.LowestOpen}, Wait: m.Wait}
		copy(c.Attempt.Client[:], m.Client)
		if a := m.Account; a != nil {
			c.Account = &fsm.Account{Identity: a.Identity, Holds: a.Holds, Tickets: a.Tickets, AllHolds: a.AllHolds, AllNames: a.AllNames}
		}
		b.Commands = append(b.Commands, c)
	}
	return b
}

// knownOnly is an error if there are fields that the schema does not have.
func knownOnly(message protoreflect.Message) (err error) {
	if len(message.GetUnknown()) > 0 {
		return errors.New(string(message.Descriptor().Name()) + " with a field that the schema does not have")
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.IsList():
			for i := range value.List().Len() {
				err = errors.Join(err, knownOnly(value.List().Get(i).Message()))
			}
		default:
			err = errors.Join(err, knownOnly(value.Message()))
		}
		return err == nil
	})
	return err
}

// TestAppendBatchRefusesWhatCannotBeDecoded: such an entry would stop every node.
func TestAppendBatchRefusesWhatCannotBeDecoded(t *testing.T) {
	valid := acquire("a", 1, 1)
	command := func(change func(*fsm.Command)) fsm.Batch {
		c := valid
		change(&c)
		return fsm.Batch{Commands: []fsm.Command{valid, c}}
	}
	for name, batch := range map[string]fsm.Batch{
		"too many commands": {Commands: make([]fsm.Command, fsm.MaxCommands+1)},
		"negative clock":    {Stamp: fsm.Stamp{Clock: -1}},
		"no kind":           command(func(c *fsm.Command) { c.Kind = 0 }),
		"unknown kind":      command(func(c *fsm.Command) { c.Kind = 8 }),
		"long name":         command(func(c *fsm.Command) { c.Name = strings.Repeat("n", sema.MaxNameBytes+1) }),
		"name not UTF-8":    command(func(c *fsm.Command) { c.Name = "\xff" }),
		"long owner":        command(func(c *fsm.Command) { c.Owner = strings.Repeat("o", sema.MaxOwnerBytes+1) }),
		"owner not UTF-8":   command(func(c *fsm.Command) { c.Owner = "a\xc3" }),
		"account of nobody": command(func(c *fsm.Command) { c.Account = new(fsm.Account) }),
		"long account":      command(func(c *fsm.Command) { c.Account = &fsm.Account{Identity: strings.Repeat("i", 65)} }),
		"account not UTF-8": command(func(c *fsm.Command) { c.Account = &fsm.Account{Identity: "\xff"} }),
		"negative deadline": command(func(c *fsm.Command) { c.Deadline = -1 }),
	} {
		if entry, err := fsm.AppendBatch(nil, batch); err == nil {
			_, decoding := fsm.DecodeBatch(entry)
			t.Errorf("%s: encoded, and to decode it says %v", name, decoding)
		}
	}
}

// TestLargestBatch: MaxCommands of the largest commands fit into an entry.
func TestLargestBatch(t *testing.T) {
	largest := fsm.Command{
		Kind:     fsm.Acquire,
		Name:     strings.Repeat("n", sema.MaxNameBytes),
		Owner:    strings.Repeat("o", sema.MaxOwnerBytes),
		Timeout:  -1, // ten bytes
		Token:    math.MaxUint64,
		Deadline: math.MaxInt64,
		Attempt:  sema.Attempt{Client: clientID(255), Seq: math.MaxUint64, LowestOpen: math.MaxUint64},
		Wait:     true,
		Account:  &fsm.Account{Identity: strings.Repeat("i", 64), Holds: math.MaxUint32, Tickets: math.MaxUint32, AllHolds: math.MaxUint32, AllNames: math.MaxUint32},
	}
	batch := fsm.Batch{Stamp: fsm.Stamp{Term: math.MaxUint64, Clock: math.MaxInt64, Wall: -1}}
	for range fsm.MaxCommands {
		batch.Commands = append(batch.Commands, largest)
	}
	prefix := []byte("before")
	data, err := fsm.AppendBatch(prefix, batch)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fsm.DecodeBatch(data[len(prefix):])
	if err != nil || !sameBatch(got, batch) {
		t.Fatalf("decoded with %v", err)
	}
	t.Logf("%d of at most %d bytes", len(data)-len(prefix), fsm.MaxBatchBytes)
}
