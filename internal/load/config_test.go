package load_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/load"
)

func TestValidate(t *testing.T) {
	good := load.Config{Mode: load.Cycle, Workers: 1, Duration: time.Second}
	for _, test := range []struct {
		name   string
		change func(*load.Config)
		want   []string // faults; none if it is good
	}{
		{"least", func(*load.Config) {}, nil},
		{"most", func(c *load.Config) {
			*c = load.Config{Mode: load.Mixed, Workers: 100_000, Duration: 24 * time.Hour, Warmup: 24 * time.Hour, Rate: 1e6, Prefix: strings.Repeat("x", 496), Patience: time.Hour}
		}, nil},
		{"nothing", func(c *load.Config) { *c = load.Config{} }, []string{`invalid mode "": want cycle or handoff`, `invalid workers "0"`, `invalid duration "0s"`}},
		{"mode", func(c *load.Config) { c.Mode = "spin" }, []string{`invalid mode "spin"`}},
		{"negative", func(c *load.Config) { c.Workers, c.Duration, c.Warmup, c.Rate, c.Patience = -1, -1, -1, -1, -1 },
			[]string{`invalid workers "-1": want 1 to 100000`, `invalid duration "-1ns"`, `invalid warmup "-1ns"`, `invalid rate "-1"`, `invalid patience "-1ns"`}},
		{"too much", func(c *load.Config) {
			c.Workers, c.Duration, c.Warmup, c.Rate = 100_001, 25*time.Hour, 25*time.Hour, 1e6+1
		},
			[]string{"invalid workers", "invalid duration", "invalid warmup", "invalid rate"}},
		{"no number", func(c *load.Config) { c.Rate = math.NaN() }, []string{`invalid rate "NaN"`}},
		{"without end", func(c *load.Config) { c.Rate = math.Inf(1) }, []string{`invalid rate "+Inf"`}},
		{"long prefix", func(c *load.Config) { c.Prefix = strings.Repeat("x", 512) }, []string{"invalid prefix"}},
		{"control character", func(c *load.Config) { c.Prefix = "a\nb" }, []string{`invalid prefix "a\nb"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			err := cfg.Validate()
			if len(test.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, sema.ErrInvalid) || strings.Count(err.Error(), "\n")+1 != len(test.want) {
				t.Fatalf("want %d faults, got %v", len(test.want), err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in %v", want, err)
				}
			}
			if _, err := load.Run(t.Context(), cfg, nil); !errors.Is(err, sema.ErrInvalid) {
				t.Errorf("Run: %v", err)
			}
		})
	}
}
