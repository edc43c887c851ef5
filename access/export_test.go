package access

// Clients is how many clients are remembered of an identity, and of how many identities any are.
func (c *Control) Clients(name string) (of, identities int) {
	c.clients.mu.Lock()
	defer c.clients.mu.Unlock()
	if known := c.clients.of[name]; known != nil {
		of = len(known.young) + len(known.old)
	}
	return of, len(c.clients.of)
}
