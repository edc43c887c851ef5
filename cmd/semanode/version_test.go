package main

import (
	"encoding/json"
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	contains(t, inside(t, nil, "version").ok(t), "semanode", "commit", "date", "go1.", "platform")
	var b build
	must(t, json.Unmarshal([]byte(inside(t, nil, "version", "-o", "json").ok(t)), &b))
	if b != thisBuild() || b.Go == "" || b.Platform == "" || b.Version == "" {
		t.Errorf("got %+v", b)
	}
}

// A release says what it is; otherwise it is as the Go tool recorded it.
func TestBuildOf(t *testing.T) {
	recorded := &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"}}}
	for _, tc := range []struct {
		name    string
		info    *debug.BuildInfo
		release build
		want    build
	}{
		{"recorded", recorded, build{}, build{Version: "v0.1.0", Commit: "abc", Modified: true, Date: "2026-01-02T03:04:05Z"}},
		{"release", recorded, build{Version: "v1.0.0", Commit: "def", Date: "2026-05-05T00:00:00Z"}, build{Version: "v1.0.0", Commit: "def", Date: "2026-05-05T00:00:00Z"}},
		{"nothing known", &debug.BuildInfo{}, build{}, build{Version: "(devel)"}},
	} {
		got := buildOf(tc.info, tc.release)
		got.Go, got.Platform = "", ""
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}
