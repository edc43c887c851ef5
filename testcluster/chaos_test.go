package testcluster_test

import (
	"testing"
	"time"

	"github.com/semanode/sema/testcluster"
)

func TestChaos(t *testing.T) {
	r := testcluster.Chaos(t, testcluster.ChaosOptions{Duration: time.Hour, Options: testcluster.Options{ElectionTimeout: 2 * time.Second}})
	t.Log(r)
}
