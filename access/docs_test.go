package access_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedFile: the example of docs/access.md is one.
func TestDocumentedFile(t *testing.T) {
	text, err := os.ReadFile("../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("there is no example")
	}
	if p := parse(t, example); p.ByName("operator") == nil {
		t.Error("the example has no operator")
	}
}
