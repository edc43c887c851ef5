package testcluster

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/semanode/sema/testcluster/internal/memnet"
)

// networkFaults are those of links that are cut.
func networkFaults() []Fault {
	return []Fault{
		{
			Name: "isolate", About: "one node hears nobody and is heard by nobody, clients included",
			MinFor: time.Second, MaxFor: 40 * time.Second,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				return c.blocking(func(from, to string) bool { return from == on || to == on })
			},
		},
		{
			Name: "halves", About: "the nodes fall into two parts, one with the struck node and without a majority; each client hears one part",
			MinFor: time.Second, MaxFor: 40 * time.Second,
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				few, many := []string{on}, c.others(on)
				chance.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
				for 2*(len(few)+1) < len(c.machines) {
					few, many = append(few, many[0]), many[1:]
				}
				for _, cl := range c.allClients() {
					if chance.IntN(2) == 0 {
						few = append(few, cl.Name)
					} else {
						many = append(many, cl.Name)
					}
				}
				return c.blocking(partitioned(few, many))
			},
		},
		{
			Name: "one-way", About: "what one node sends reaches no other node, or it hears none; the other direction stays whole",
			MinFor: time.Second, MaxFor: 40 * time.Second,
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				deaf := chance.IntN(2) == 0
				return c.blocking(func(from, to string) bool {
					return c.isNode(from) && c.isNode(to) && (deaf && to == on || !deaf && from == on)
				})
			},
		},
		{
			Name: "chain", About: "two nodes do not hear each other, and both hear the one between them",
			MinFor: time.Second, MaxFor: 40 * time.Second,
			Applies: func(c *Cluster, _ string) bool { return len(c.machines) >= 3 },
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				others := c.others(on)
				other := others[chance.IntN(len(others))]
				return c.blocking(func(from, to string) bool {
					return from == on && to == other || from == other && to == on
				})
			},
		},
	}
}

// linkFaults are those of what gets through, late or not at first.
func linkFaults() []Fault {
	return []Fault{
		{
			Name: "delay", About: "what one machine sends and hears is 20 to 300 ms late",
			MinFor: 2 * time.Second, MaxFor: 40 * time.Second,
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				base := 20*time.Millisecond + time.Duration(chance.Int64N(int64(100*time.Millisecond)))
				return c.imposing("delayed pieces:", &memnet.Rule{Delay: base, Jitter: 180 * time.Millisecond,
					Match: func(from, to string) bool { return from == on || to == on }})
			},
		},
		{
			Name: "loss", About: "a tenth to a third of what one machine sends and hears is lost and sent again",
			MinFor: 2 * time.Second, MaxFor: 40 * time.Second,
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				return c.imposing("lost pieces:", &memnet.Rule{Loss: 0.1 + 0.2*chance.Float64(),
					Match: func(from, to string) bool { return from == on || to == on }})
			},
		},
		{
			Name: "reset", About: "all connections of one machine break",
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				broken := c.net.Reset(func(a, _ string) bool { return a == on })
				return Injury{Undo: undone, Proof: did("broken connections:", func() int64 { return int64(broken) })}
			},
		},
	}
}

// messageFaults are those of what nodes say to each other, above connections.
func messageFaults() []Fault {
	again := func(upTo time.Duration) func(*Cluster, string, *rand.Rand) Injury {
		return func(c *Cluster, on string, _ *rand.Rand) Injury {
			harm := c.machine(on).harm
			before := harm.copies.Load()
			harm.upTo.Store(int64(upTo))
			return Injury{
				Undo:  lifting(func() { harm.upTo.Store(-1) }),
				Proof: did("copies:", func() int64 { return harm.copies.Load() - before }),
			}
		}
	}
	return []Fault{
		{
			Name: "duplicate", About: "a third of the consensus messages of one node arrive twice",
			MinFor: 2 * time.Second, MaxFor: 40 * time.Second, Inject: again(0),
		},
		{
			Name: "reorder", About: "copies of consensus messages of one node arrive up to 3 s late, after newer ones",
			MinFor: 2 * time.Second, MaxFor: 40 * time.Second, Inject: again(3 * time.Second),
		},
	}
}

func (c *Cluster) blocking(match func(from, to string) bool) Injury {
	return c.imposing("held pieces:", &memnet.Rule{Match: match, Block: true})
}

func (c *Cluster) imposing(what string, rule *memnet.Rule) Injury {
	lift := c.net.Impose(rule)
	return Injury{Undo: lifting(lift), Proof: did(what, rule.Bitten.Load)}
}

func (c *Cluster) isNode(name string) bool {
	for _, m := range c.machines {
		if m.id == name {
			return true
		}
	}
	return false
}

func (c *Cluster) allClients() []*Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Client(nil), c.clients...)
}

// client returns the client on this machine.
func (c *Cluster) client(name string) *Client {
	cl := c.clientNamed(name)
	if cl == nil {
		c.tb.Fatalf("there is no client %q", name)
	}
	return cl
}

func (c *Cluster) clientNamed(name string) *Client {
	for _, cl := range c.allClients() {
		if cl.Name == name {
			return cl
		}
	}
	return nil
}

// clientFaults are those of clients, their links and their calls.
func clientFaults() []Fault {
	harming := func(kind harmKind, what string, chance float64, upTo time.Duration) func(*Cluster, string, *rand.Rand) Injury {
		return func(c *Cluster, on string, _ *rand.Rand) Injury {
			harm := &callHarm{kind: kind, chance: chance, upTo: upTo}
			lift := c.client(on).calls.impose(harm)
			return Injury{Undo: lifting(lift), Proof: did(what, harm.bitten.Load)}
		}
	}
	return []Fault{
		{
			Name: "lost-answers", About: "a client's connection is cut after the cluster has decided, before it hears of it, every other time",
			On: OnClient, MinFor: 5 * time.Second, MaxFor: 40 * time.Second,
			Inject: harming(cutAnswer, "lost answers:", 0.5, 0),
		},
		{
			Name: "late-copies", About: "every other call of a client arrives again, up to 8 s later",
			On: OnClient, MinFor: 5 * time.Second, MaxFor: 40 * time.Second,
			Inject: harming(duplicateCall, "copies:", 0.5, 8*time.Second),
		},
		{
			Name: "overtaken", About: "every other call of a client leaves up to 1.5 s late, so that others overtake it",
			On: OnClient, MinFor: 5 * time.Second, MaxFor: 40 * time.Second,
			Inject: harming(delayCall, "late calls:", 0.5, 1500*time.Millisecond),
		},
		{
			Name: "client-isolated", About: "a client hears no node and no node hears it",
			On: OnClient, MinFor: time.Second, MaxFor: time.Minute,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				return c.blocking(func(from, to string) bool { return from == on || to == on })
			},
		},
		{
			Name: "client-paused", About: "a client's process is stopped and goes on later",
			On: OnClient, MinFor: time.Second, MaxFor: time.Minute,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury { return pausing(&c.client(on).gate) },
		},
		{
			Name: "client-reset", About: "all connections of a client break",
			On: OnClient,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				broken := c.net.Reset(func(a, _ string) bool { return a == on })
				return Injury{Undo: undone, Proof: did("broken connections:", func() int64 { return int64(broken) })}
			},
		},
	}
}

func percent(rate float64) string { return fmt.Sprintf("%+.1f %%", 100*(rate-1)) }
