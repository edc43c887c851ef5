package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestAuditLevel: the audit log is silent only if there is to be no log at all.
func TestAuditLevel(t *testing.T) {
	for level, want := range map[string]bool{"debug": true, "info": true, "warn": true, "error": true, "off": false} {
		var out bytes.Buffer
		l := &logging{level: choice{value: level}, format: choice{value: "text"}}
		log, audit := l.loggers(&out)
		audit.Info("member joined")
		if got := strings.Contains(out.String(), "semanode.audit: member joined"); got != want {
			t.Errorf("with the level %s: logged %q", level, out.String())
		}
		out.Reset()
		log.Info("anything else")
		if quiet := level == "warn" || level == "error" || level == "off"; quiet != (out.Len() == 0) {
			t.Errorf("with the level %s: logged %q", level, out.String())
		}
	}
}
