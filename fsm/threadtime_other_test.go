//go:build !linux

package fsm_test

import "time"

func threadTime() time.Duration { return 0 }
