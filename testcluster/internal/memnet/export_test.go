package memnet

// Window is how many bytes may be under way in one direction.
const Window = window

// Backlog is how many connections wait to be accepted.
const Backlog = backlog

// Remembered returns how many connections the network knows.
func (n *Network) Remembered() int { return len(n.connections()) }
