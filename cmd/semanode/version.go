package main

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
)

// What a release build says of itself, for sources that come without their history:
// go build -ldflags "-X main.buildVersion=v1.2.3 -X main.buildCommit=… -X main.buildDate=…".
var buildVersion, buildCommit, buildDate string

// build says what this program is, also as JSON.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // "" if the Go tool did not know
	Modified bool   `json:"modified"` // the sources differed from that commit
	Date     string `json:"date"`     // RFC 3339: of the commit, unless the release says otherwise
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild is the running program.
func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info, build{Version: buildVersion, Commit: buildCommit, Date: buildDate})
}

// buildOf is what the Go tool recorded, unless the release says otherwise. Its date is
// the commit's and not that of the building, so that the same sources make the same
// bytes on any day.
func buildOf(info *debug.BuildInfo, release build) build {
	vcs := map[string]string{}
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	return build{
		Version:  cmp.Or(release.Version, info.Main.Version, "(devel)"),
		Commit:   cmp.Or(release.Commit, vcs["vcs.revision"]),
		Modified: release.Commit == "" && vcs["vcs.modified"] == "true",
		Date:     cmp.Or(release.Date, vcs["vcs.time"]),
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// source is the commit for people, with a mark if that is not the whole truth.
func (b build) source() string {
	if b.Modified {
		return b.Commit + ", modified"
	}
	return b.Commit
}

func newVersionCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Version prints what this program was built from. The date is that of the commit,
unless the release was given one of its own.`,
		Example: `  semanode version
  semanode version -o json | jq -r .commit`,
		Args: cobra.NoArgs,
	}
	output := choice{"text", []string{"text", "json"}}
	addChoice(cmd, &output, "output", "o", "`FORMAT` of the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return printer{cmd.OutOrStdout(), output.value == "json"}.build(thisBuild())
	}
	return cmd
}

// build prints what a program is.
func (p printer) build(b build) error {
	if p.json {
		return p.encode(b)
	}
	t := p.table()
	t.row("semanode", b.Version)
	t.row("commit", b.source())
	t.row("date", b.Date)
	t.row("go", b.Go)
	t.row("platform", b.Platform)
	return t.Flush()
}

// greet is the first that a node logs: what it is, and which of its settings nobody
// will ever read.
func greet(cmd *cobra.Command, log hclog.Logger) {
	b := thisBuild()
	log.Info("starting", "version", b.Version, "commit", b.source(), "date", b.Date, "go", b.Go, "platform", b.Platform)
	for _, warning := range unknownVariables(cmd.Root(), os.Environ()) {
		log.Warn(warning)
	}
}
