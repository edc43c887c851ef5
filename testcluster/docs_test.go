package testcluster_test

import (
	"os"
	"strings"
	"testing"

	"github.com/semanode/sema/testcluster"
)

// TestDocumentationListsAllFaults keeps docs/testing.md true.
func TestDocumentationListsAllFaults(t *testing.T) {
	doc, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range testcluster.Faults() {
		if !strings.Contains(string(doc), "`"+f.Name+"`") {
			t.Errorf("docs/testing.md does not tell of the fault %s: %s", f.Name, f.About)
		}
	}
}
