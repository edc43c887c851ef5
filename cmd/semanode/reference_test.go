package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the tables of docs/configuration.md anew")

const referenceFile = "../../docs/configuration.md"

// The tables of all settings in the documentation are those of the flags.
func TestConfigurationReference(t *testing.T) {
	root := newRootCmd("semanode")
	data, err := os.ReadFile(referenceFile)
	must(t, err)
	text := string(data)
	for name, table := range map[string]string{"serve": serveTable(), "others": commandTables(root), "flags only": flagsOnlyTable()} {
		begin, end := "<!-- "+name+": made from the flags -->\n", "\n<!-- end -->"
		before, rest, found := strings.Cut(text, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no place for %s", referenceFile, name)
		}
		text = before + begin + table + end + after
	}
	switch {
	case text == string(data):
	case *update:
		must(t, os.WriteFile(referenceFile, []byte(text), 0o644))
	default:
		t.Errorf("%s is not as the flags are: go test ./cmd/semanode -run TestConfigurationReference -update", referenceFile)
	}
}

func serveTable() string {
	flags := newServeCmd().Flags()
	flags.SortFlags = false // as its help has them
	var b strings.Builder
	b.WriteString("| key | flag | variable | default | meaning |\n| --- | --- | --- | --- | --- |")
	flags.VisitAll(func(f *pflag.Flag) {
		key := ""
		if slices.Contains(fileKeys(flags), f.Name) {
			key = "`" + f.Name + "`"
		}
		fmt.Fprintf(&b, "\n| %s | `%s` | `%s` | %s | %s |", key, flagWithPlaceholder(f), envName(f.Name), defaultOf(f), cell(words(f)))
	})
	return b.String()
}

func commandTables(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("| command | flag | variable | default | meaning |\n| --- | --- | --- | --- | --- |")
	for cmd := range commands(root) {
		if cmd.Name() == "serve" {
			continue
		}
		path := strings.TrimPrefix(cmd.CommandPath(), "semanode ")
		if path == "config check" { // has those of serve, too
			fmt.Fprintf(&b, "\n| `%s` | those of `serve`, and `--output FORMAT` | `SEMANODE_OUTPUT` | `text` | FORMAT of the answer: text, json |", path)
			continue
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			variable := "`" + envName(f.Name) + "`"
			if flagOnly(cmd, f.Name) != "" {
				variable = ""
			}
			fmt.Fprintf(&b, "\n| `%s` | `%s` | %s | %s | %s |", path, flagWithPlaceholder(f), variable, defaultOf(f), cell(words(f)))
		})
	}
	return b.String()
}

func flagsOnlyTable() string {
	var b strings.Builder
	b.WriteString("| flag | of | because it |\n| --- | --- | --- |")
	for _, only := range flagsOnly {
		of := "every command"
		if only.command != "" {
			of = "`" + only.command + "`"
		}
		fmt.Fprintf(&b, "\n| `--%s` | %s | %s |", only.flag, of, only.why)
	}
	return b.String()
}

func flagWithPlaceholder(f *pflag.Flag) string {
	placeholder, _ := pflag.UnquoteUsage(f)
	return strings.TrimSpace("--" + f.Name + " " + placeholder)
}

func defaultOf(f *pflag.Flag) string {
	if f.DefValue == "" || f.DefValue == "false" {
		return ""
	}
	return "`" + f.DefValue + "`"
}

// cell is text in a table of Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
}
