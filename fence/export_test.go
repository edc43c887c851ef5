package fence

// Rooms is the number of resources for which the gate keeps anything itself.
func (g *Gate) Rooms() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.rooms)
}

// Resources is the number of resources that the memory keeps.
func (m *Memory) Resources() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.highest)
}
