package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envPrefix begins every environment variable of semanode.
const envPrefix = "SEMANODE_"

// envName is the variable of a flag: SEMANODE_DATA_DIR of data-dir.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// flagsOnly are the flags that no variable speaks for, each with the reason. A variable
// outlives the command that it was set for and meets every other one: what names one
// thing, or does something that cannot be undone, has to be said each time.
var flagsOnly = []struct{ command, flag, why string }{
	{"", "help", "asks for a text instead of the command"},
	{"", "no-descriptions", "belongs to shell completion, which is not ours"},
	{"", "force", "overrides a protection, which wants a decision each time"},
	{"", "yes", "overrides a question, which wants an answer each time"},
	{"", "stale", "gives up a promise, which wants a decision each time"},
	{"", "token", "names one hold; left over from an earlier one it would name the wrong one"},
	{"convert", "to", "says what this one conversion is for"},
	{"convert", "data-dir", "says what this one conversion rewrites"},
	{"save", "data-dir", "says what this one backup is taken from; left over from serve it would be a node's"},
	{"restore", "drop-holds", "leaves holds out, which wants a decision each time"},
	{"restore", "generation", "belongs to one restore; a second time it would repeat tokens"},
	{"dev", "data-dir", "a node's directory is not to be played with"},
}

// flagOnly returns why the command's flag has no variable, "" if it has one.
func flagOnly(cmd *cobra.Command, flag string) string {
	for _, only := range flagsOnly {
		if only.flag == flag && (only.command == "" || only.command == cmd.Name()) {
			return only.why
		}
	}
	return ""
}

// secret reports whether the flag's value is one that must not be shown. It goes by the
// name, so that it holds for flags that are yet to come; the name of a file is none.
func secret(f *pflag.Flag) bool {
	placeholder, _ := pflag.UnquoteUsage(f)
	if f.Value.Type() != "string" || strings.Contains(placeholder, "FILE") || strings.Contains(placeholder, "DIR") {
		return false
	}
	for part := range strings.SplitSeq(f.Name, "-") {
		if slices.Contains([]string{"token", "tokens", "password", "passphrase", "secret", "key"}, part) {
			return true
		}
	}
	return false
}

// variables returns the names of all variables that some command knows, in order.
func variables(root *cobra.Command) []string {
	var names []string
	for cmd := range commands(root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if flagOnly(cmd, f.Name) == "" {
				names = append(names, envName(f.Name))
			}
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// commands yields the commands that do something, in the order of the help.
func commands(root *cobra.Command) func(yield func(*cobra.Command) bool) {
	return func(yield func(*cobra.Command) bool) { yieldCommands(root, yield) }
}

func yieldCommands(cmd *cobra.Command, yield func(*cobra.Command) bool) bool {
	if cmd.Runnable() && !yield(cmd) {
		return false
	}
	for _, sub := range cmd.Commands() {
		if !yieldCommands(sub, yield) {
			return false
		}
	}
	return true
}

// unknownVariables returns a warning for each variable that looks as if it were meant
// for semanode and is not read by any command. Warnings, because an error would stop
// every node of a machine that has such a variable from elsewhere: Kubernetes sets
// SEMANODE_PORT and its like for a service of that name.
func unknownVariables(root *cobra.Command, environ []string) (warnings []string) {
	known := append(variables(root), authTokenEnv)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" || !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		warning := fmt.Sprintf("no setting is called $%s, it is ignored", clip(name))
		if near := nearest(name, known); near != "" {
			warning += fmt.Sprintf(": did you mean $%s?", near)
		}
		warnings = append(warnings, warning)
	}
	slices.Sort(warnings)
	return warnings
}
