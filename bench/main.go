//go:build unix

package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/bench/internal/report"
	"github.com/semanode/sema/internal/tuning"
)

//go:embed benchmarks.md.tmpl
var document string

func main() {
	if len(os.Args) < 2 || os.Args[1] != "peer" { // a peer is as its project has it
		tuning.TimerSlack() // as semanode bench does
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it on the spot
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program. "peer etcd" is what it runs itself as for an etcd server.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) >= 2 && args[0] == "peer" && args[1] == "etcd" {
		return peer.ServeEtcd(ctx, args[2:], stdout)
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	var data report.Data
	if o.render {
		data, err = read(o.out)
	} else {
		data, err = measure(ctx, o, stderr)
	}
	if err != nil {
		return err
	}
	if err := write(data, o.out, stdout); err != nil {
		return err
	}
	if n := len(data.Failures); n > 0 {
		return fmt.Errorf("%d measurements failed:\n%s", n, strings.Join(data.Failures, "\n"))
	}
	return nil
}

// beside returns the path of a file that goes with the document.
func beside(out, suffix string) string { return strings.TrimSuffix(out, filepath.Ext(out)) + suffix }

func read(out string) (report.Data, error) {
	text, err := os.ReadFile(beside(out, ".json"))
	if err != nil {
		return report.Data{}, err
	}
	return report.Decode(text)
}

// write writes the document and what goes with it, or prints it.
func write(data report.Data, out string, stdout io.Writer) error {
	base := "benchmarks"
	if out != "" {
		base = beside(filepath.Base(out), "")
	}
	text, err := data.Document(document, base)
	if err != nil {
		return err
	}
	if out == "" {
		_, err := stdout.Write(text)
		return err
	}
	json, err := data.JSON()
	if err != nil {
		return err
	}
	files := map[string][]byte{out: text, beside(out, ".json"): json}
	for name, chart := range data.Charts() {
		files[beside(out, "-"+name+".svg")] = chart.SVG()
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%s\n%s\nwritten to %s\n", data.CycleRatios(), data.OtherRatios(), out)
	return nil
}
