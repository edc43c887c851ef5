package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// printer writes answers, as text for people or as one line of JSON for
// programs. What it writes is stable: fields are added, never renamed.
type printer struct {
	w    io.Writer
	json bool
}

// infoJSON is a hold as JSON. Times that are not known are left out. Whose token it has is
// in the field's name: a script that looks for its own must not find somebody else's.
type infoJSON struct {
	Status      string    `json:"status"`
	Name        string    `json:"name"`
	Owner       string    `json:"owner"`
	Timeout     string    `json:"timeout"`
	Token       string    `json:"token,omitempty"`       // the caller's; digits: a uint64 does not fit a JavaScript number
	HolderToken string    `json:"holderToken,omitempty"` // somebody else's, or of a hold that was ended
	ExpiresAt   time.Time `json:"expiresAt,omitzero"`
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	UpdatedAt   time.Time `json:"updatedAt,omitzero"`
	Waiting     int       `json:"waiting"`
	Line        []waiter  `json:"line,omitempty"` // the first of them
}

// waiter is a place in line as JSON.
type waiter struct {
	Position int       `json:"position"`
	Owner    string    `json:"owner"`
	Since    time.Time `json:"since"`
}

func toJSON(info sema.Info, line []sema.Ticket) infoJSON {
	out := infoJSON{
		Status:    info.Status.String(),
		Name:      info.Name,
		Owner:     info.Owner,
		Timeout:   info.Timeout.String(),
		ExpiresAt: info.ExpiresAt.UTC(),
		CreatedAt: info.CreatedAt.UTC(),
		UpdatedAt: info.UpdatedAt.UTC(),
		Waiting:   info.Waiting,
	}
	switch token := strconv.FormatUint(info.Token, 10); {
	case info.Status == sema.Acquired:
		out.Token = token
	case info.Token != 0:
		out.HolderToken = token
	}
	for _, t := range line {
		out.Line = append(out.Line, waiter{t.Position, t.Owner, t.Since.UTC()})
	}
	return out
}

// info prints one hold, or that there is none, and who waits for it.
func (p printer) info(info sema.Info, line ...sema.Ticket) error {
	if p.json {
		return p.encode(toJSON(info, line))
	}
	t := p.table()
	t.row("status:", info.Status.String())
	t.row("name:", info.Name)
	if info.Token != 0 {
		t.row("owner:", info.Owner)
		t.row("timeout:", info.Timeout.String())
		label := "holder's token:" // not the caller's, as in infoJSON
		if info.Status == sema.Acquired {
			label = "token:"
		}
		t.row(label, strconv.FormatUint(info.Token, 10))
	}
	for _, at := range []struct {
		label string
		time  time.Time
	}{{"expires:", info.ExpiresAt}, {"created:", info.CreatedAt}, {"updated:", info.UpdatedAt}} {
		if !at.time.IsZero() {
			t.row(at.label, stamp(at.time))
		}
	}
	if info.Waiting > 0 {
		t.row("waiting:", strconv.Itoa(info.Waiting))
	}
	for _, ticket := range line {
		t.row(fmt.Sprintf("  %d.", ticket.Position), ticket.Owner+", since "+stamp(ticket.Since))
	}
	return t.Flush()
}

// released prints what became of a hold that was given back.
func (p printer) released(name string, token uint64, released bool) error {
	if p.json {
		return p.encode(struct {
			Name     string `json:"name"`
			Token    string `json:"token"`
			Released bool   `json:"released"`
		}{name, strconv.FormatUint(token, 10), released})
	}
	text := "released"
	if !released {
		text = "was free already"
	}
	_, err := fmt.Fprintf(p.w, "%q %s\n", name, text)
	return err
}

// refusal prints why there is no answer, for programs only: people read stderr.
func (p printer) refusal(name, text string) error {
	if !p.json {
		return nil
	}
	return p.encode(struct {
		Name  string `json:"name"`
		Error string `json:"error"`
	}{name, text})
}

// list prints holds, one a line, each with those who wait for it below.
func (p printer) list(holds []sema.Info, lines map[string][]sema.Ticket) error {
	if p.json {
		all := make([]infoJSON, len(holds)) // [] if there are none, not null
		for i, info := range holds {
			all[i] = toJSON(info, lines[info.Name])
		}
		return p.encode(struct {
			Semaphores []infoJSON `json:"semaphores"`
		}{all})
	}
	t := p.table()
	t.row("NAME", "OWNER", "TOKEN", "TIMEOUT", "EXPIRES", "WAITING")
	for _, info := range holds {
		t.row(info.Name, info.Owner, strconv.FormatUint(info.Token, 10), info.Timeout.String(), stamp(info.ExpiresAt), strconv.Itoa(info.Waiting))
		for _, ticket := range lines[info.Name] {
			t.row(fmt.Sprintf("  %d.", ticket.Position), ticket.Owner, "", "", "", "since "+stamp(ticket.Since))
		}
	}
	return t.Flush()
}

// statusJSON is a cluster's status as JSON. Term and CommitIndex are the
// leader's, 0 if there is none.
type statusJSON struct {
	ClusterID   string     `json:"clusterId"`
	Term        uint64     `json:"term"`
	CommitIndex uint64     `json:"commitIndex"`
	Nodes       []nodeJSON `json:"nodes"`
}

type nodeJSON struct {
	ID           string `json:"id"`
	RaftAddr     string `json:"raftAddr"`
	GRPCAddr     string `json:"grpcAddr"`
	Leader       bool   `json:"leader"`
	State        string `json:"state"`
	Term         uint64 `json:"term"`
	CommitIndex  uint64 `json:"commitIndex"`
	AppliedIndex uint64 `json:"appliedIndex"`
	Error        string `json:"error,omitempty"`
}

// status prints how a cluster is, one node a line.
func (p printer) status(st transport.ClusterStatus) error {
	if p.json {
		out := statusJSON{ClusterID: st.ClusterID, Nodes: make([]nodeJSON, len(st.Nodes))}
		if leader := leaderOf(st); leader != nil {
			out.Term, out.CommitIndex = leader.Term, leader.CommitIndex
		}
		for i, n := range st.Nodes {
			out.Nodes[i] = nodeJSON{n.ID, n.RaftAddr, n.GRPCAddr, n.Leader, n.State, n.Term, n.CommitIndex, n.AppliedIndex, n.Err}
		}
		return p.encode(out)
	}
	if _, err := fmt.Fprintf(p.w, "cluster %s\n\n", st.ClusterID); err != nil {
		return err
	}
	t := p.table()
	t.row("ID", "STATE", "TERM", "COMMITTED", "APPLIED", "GRPC", "RAFT", "ERROR")
	for _, n := range st.Nodes {
		t.row(n.ID, n.State, strconv.FormatUint(n.Term, 10), strconv.FormatUint(n.CommitIndex, 10),
			strconv.FormatUint(n.AppliedIndex, 10), n.GRPCAddr, n.RaftAddr, n.Err)
	}
	return t.Flush()
}

func (p printer) encode(v any) error {
	enc := json.NewEncoder(p.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// table aligns columns. Cells hold no control characters: names and owners with
// any are refused when they are acquired.
type table struct{ *tabwriter.Writer }

func (p printer) table() table { return table{tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)} }

// row adds a line; Flush tells whether it could be written.
func (t table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = cmp.Or(cell, "-")
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}
