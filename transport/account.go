package transport

import (
	"context"
	"encoding/binary"

	"google.golang.org/grpc/metadata"

	"github.com/semanode/sema/access"
)

// Account says on whose account a hold or a ticket counts, and within which limits: those
// in force at the node where its client came in. It does not change. A limit of zero
// is none.
type Account struct {
	Identity string // 1 to [access.MaxIdentityBytes]
	Holds    uint32 // of the identity, holds and tickets together
	Tickets  uint32 // of the identity
	AllHolds uint32 // of the cluster
	AllNames uint32 // of the cluster
}

func newAccount(id *access.Identity) *Account {
	return &Account{Identity: id.Name(), Holds: id.Limits().Holds, Tickets: id.Limits().Tickets,
		AllHolds: id.Cluster().Holds, AllNames: id.Cluster().Names}
}

// accountKey is the metadata in which the account of a call that is passed on goes to the
// leader: four numbers of four bytes, little endian, and the identity. It is believed
// on the nodes' own port only.
const accountKey = "sema-account-bin"

func (a *Account) encode() string {
	b := make([]byte, 0, 16+len(a.Identity))
	for _, limit := range []uint32{a.Holds, a.Tickets, a.AllHolds, a.AllNames} {
		b = binary.LittleEndian.AppendUint32(b, limit)
	}
	return string(append(b, a.Identity...))
}

// decodeAccount returns nil for what is none.
func decodeAccount(value string) *Account {
	if len(value) <= 16 || !access.ValidName(value[16:]) {
		return nil
	}
	limit := func(i int) uint32 { return binary.LittleEndian.Uint32([]byte(value[4*i : 4*i+4])) }
	return &Account{Identity: value[16:], Holds: limit(0), Tickets: limit(1), AllHolds: limit(2), AllNames: limit(3)}
}

// account is on whose account a call acts that came with ctx: that by which the client was
// judged, which came in here, or what the node says that passed the call on. nil: nobody's.
func (h *handler) account(ctx context.Context) *Account {
	if a, ok := ctx.Value(accountOf{}).(*Account); ok {
		return a
	}
	if !h.fromNodes {
		return nil
	}
	if values := metadata.ValueFromIncomingContext(ctx, accountKey); len(values) == 1 {
		return decodeAccount(values[0])
	}
	return nil
}

// withAccount adds the account to a call that is passed on.
func (h *handler) withAccount(out, ctx context.Context) context.Context {
	if a := h.account(ctx); a != nil {
		return metadata.AppendToOutgoingContext(out, accountKey, a.encode())
	}
	return out
}
