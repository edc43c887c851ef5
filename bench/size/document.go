//go:build linux

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/semanode/sema/bench/internal/host"
	"github.com/semanode/sema/bench/internal/stat"
)

//go:embed size.md.tmpl
var page string

// document is what was measured.
type document struct {
	Day, Version  string
	Machine       host.Facts
	Before, After host.Sync
	Holds         int
	Tables        []*table
	Failures      []string
}

// table is one part of it.
type table struct {
	Title  string
	header []string
	rows   [][]string
}

func (d *document) table(title string, header ...string) *table {
	t := &table{Title: title, header: header}
	d.Tables = append(d.Tables, t)
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String is the table as Markdown.
func (t *table) String() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.header)
	line(strings.Split(strings.Repeat("---,", len(t.header)-1)+"---", ","))
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}

// Where describes the machine.
func (d document) Where() string {
	sync := func(s host.Sync) string {
		return stat.Figure(s.P50.Seconds()*1000) + " / " + stat.Figure(s.P99.Seconds()*1000) + " ms"
	}
	t := table{header: []string{"", ""}}
	t.add("processor", d.Machine.CPU)
	t.add("cores", fmt.Sprint(d.Machine.Cores))
	t.add("memory", fmt.Sprintf("%d GB", d.Machine.MemoryGB))
	t.add("kernel", d.Machine.Kernel)
	t.add("file system of the data", d.Machine.FileSystem)
	t.add("writing 4 kB and fdatasync, p50 / p99, before", sync(d.Before))
	t.add("the same, after", sync(d.After))
	t.add("Go", d.Machine.Go)
	t.add("Sema", d.Version)
	t.add("day", d.Day)
	return t.String()
}

// Many is how many holds are many.
func (d document) Many() string { return count(d.Holds) }

func (d document) markdown() ([]byte, error) {
	t, err := template.New("size").Option("missingkey=error").Parse(page)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, d)
	return b.Bytes(), err
}
