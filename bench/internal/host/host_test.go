package host_test

import (
	"runtime"
	"testing"

	"github.com/semanode/sema/bench/internal/host"
)

func TestLook(t *testing.T) {
	f := host.Look(t.TempDir())
	if f.Cores < 1 || f.Go == "" {
		t.Errorf("%+v", f)
	}
	if runtime.GOOS == "linux" && (f.Kernel == "linux" || f.FileSystem == "unknown" || f.MemoryGB == 0) {
		t.Errorf("/proc tells more than %+v", f)
	}
}

func TestMeasureSync(t *testing.T) {
	s, err := host.MeasureSync(t.TempDir())
	if err != nil || s.P50 <= 0 || s.P99 < s.P50 {
		t.Errorf("%+v, %v", s, err)
	}
	t.Logf("%+v", s)
}
