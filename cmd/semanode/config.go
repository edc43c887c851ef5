package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

func newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a node's settings, or print an example of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("config needs a command: check or example")
		},
	}
	addTo(cmd, "", newConfigCheckCmd(), newConfigExampleCmd())
	return cmd
}

// addConfig adds the flag that names a config file.
func addConfig(cmd *cobra.Command) {
	cmd.Flags().String(configFlag, "", "`FILE` with settings: keys are these flags; a flag or\nits variable counts more")
}

func newConfigCheckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Tell whether serve would accept its settings",
		Long: `Check looks at settings exactly as serve does before it starts: at those of the
file, of the environment and of the flags, which are serve's. It opens no port
and looks at no data directory.

It prints each setting with its value and where that comes from, and "ok"; or
every fault, and exits with 2. A variable that no setting has is told on stderr.`,
		Example: `  semanode config check /etc/semanode/semanode.yaml
  semanode config check -o json | jq -r '.settings[] | select(.source != "default").key'`,
		Args: cobra.MaximumNArgs(1),
	}
	output := choice{"text", []string{"text", "json"}}
	addChoice(cmd, &output, "output", "o", "`FORMAT` of the answer")
	serve := newServeCmd()
	serve.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(serve.Flags()) // the very same: what is set here is set there
	refuse := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := refuse(cmd, args); err != nil || len(args) == 0 {
			return err
		}
		if cmd.Flags().Changed(configFlag) {
			return fmt.Errorf("--%s names a file, too: name one", configFlag)
		}
		return cmd.Flags().Set(configFlag, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SetContext(context.WithValue(cmd.Context(), checkingKey{}, true))
		if err := serve.RunE(cmd, nil); err != nil {
			return err
		}
		for _, warning := range unknownVariables(cmd.Root(), os.Environ()) {
			fmt.Fprintln(cmd.ErrOrStderr(), "semanode: "+warning)
		}
		return printer{cmd.OutOrStdout(), output.value == "json"}.settings(cmd.Flags(), settingsOf(cmd))
	}
	return cmd
}

type checkingKey struct{}

// checking reports whether the command's settings are only to be checked. Serve asks
// when it has checked them all and has touched nothing yet.
func checking(cmd *cobra.Command) bool { return cmd.Context().Value(checkingKey{}) != nil }

// settingJSON is a setting as JSON.
type settingJSON struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"` // "flag", "$VARIABLE", "FILE:LINE" or "default"
}

// settings prints what serve would run with.
func (p printer) settings(flags *pflag.FlagSet, s *settings) error {
	var all []settingJSON
	for _, key := range fileKeys(flags) {
		all = append(all, settingJSON{key, shown(flags.Lookup(key)), s.place(key)})
	}
	if p.json {
		return p.encode(struct {
			OK       bool          `json:"ok"`
			Settings []settingJSON `json:"settings"`
		}{true, all})
	}
	t := p.table()
	t.row("KEY", "VALUE", "SOURCE")
	for _, setting := range all {
		t.row(setting.Key, setting.Value, setting.Source)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.w, "ok")
	return err
}

// shown is a flag's value for people to see.
func shown(f *pflag.Flag) string {
	if value := f.Value.String(); value == "" || !secret(f) {
		return value
	}
	return "(secret)"
}

func newConfigExampleCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a config file with every setting in it, commented out",
		Long: `Example prints a config file for serve. Every setting is in it with what it
means and its default, commented out: take away the # before those that are to
differ.`,
		Example: `  semanode config example > semanode.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := newServeCmd().Flags()
			flags.SortFlags = false
			return writeExample(cmd.OutOrStdout(), flags)
		},
	}
}

const exampleHead = `# Settings of "semanode serve --config FILE". Each key is a flag of serve. A flag counts
# more than what is here, and so does its variable: SEMANODE_DATA_DIR for data-dir.
# "semanode config check FILE" tells whether it is right.
`

// writeExample writes a config file with every key, commented out.
func writeExample(w io.Writer, flags *pflag.FlagSet) error {
	var text strings.Builder
	text.WriteString(exampleHead)
	var faults []error
	for _, key := range fileKeys(flags) {
		f := flags.Lookup(key)
		_, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(&text, "\n# %s\n", strings.ReplaceAll(usage, "\n", "\n# "))
		setting, err := yaml.Marshal(map[string]any{key: exampleValue(f)})
		faults = append(faults, err)
		for line := range strings.Lines(string(setting)) {
			text.WriteString("#" + line)
		}
	}
	_, err := io.WriteString(w, text.String())
	return errors.Join(errors.Join(faults...), err)
}

// exampleValue is a flag's default, or its placeholder if there is none.
func exampleValue(f *pflag.Flag) any {
	placeholder, _ := pflag.UnquoteUsage(f)
	list, pairs := shape(f)
	switch item := strings.TrimSuffix(placeholder, ",..."); {
	case pairs:
		key, value, _ := strings.Cut(item, "=")
		return map[string]string{key: value}
	case list:
		return []string{item}
	case f.DefValue != "" && f.Value.Type() != "string":
		var value any // as YAML writes it: 0, not "0"
		if yaml.Unmarshal([]byte(f.DefValue), &value) == nil {
			return value
		}
	case f.DefValue == "":
		return item
	}
	return f.DefValue
}
