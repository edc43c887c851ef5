package client

import "context"

// Beat sends what keeps the client's locks alive, now.
func (c *Client) Beat() (ok bool) { return c.keeper.beat(context.Background()) }
