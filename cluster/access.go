package cluster

import "github.com/semanode/sema/access"

// openAccess reads the access file, if there is to be one. Its faults keep the node from
// starting: to serve everybody, or nobody, would be a guess.
func (n *Node) openAccess() (err error) {
	if n.cfg.AccessFile == "" {
		return nil
	}
	n.access, err = access.Open(access.Config{File: n.cfg.AccessFile, Logger: n.log, AuditLogger: n.cfg.AuditLogger})
	return err
}

// closeAccess is called when no server runs any more. It is idempotent.
func (n *Node) closeAccess() {
	if n.access != nil {
		n.access.Close()
	}
}
