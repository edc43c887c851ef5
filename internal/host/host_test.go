package host_test

import (
	"testing"
	"time"

	"github.com/semanode/sema/internal/host"
)

// With a monotonic reading in it, the difference of two times of day would be that of the
// other clock, whatever the wall clock was set to.
func TestWallIsTheTimeOfDayOnly(t *testing.T) {
	t.Parallel()
	wall := host.System().Clock.Wall()
	if wall != wall.Round(0) {
		t.Errorf("%v has a monotonic reading", wall)
	}
	if off := time.Since(wall).Abs(); off > time.Minute {
		t.Errorf("it is off by %v", off)
	}
}
