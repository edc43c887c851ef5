//go:build unix

package peer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdReady is what a node says when it serves.
const etcdReady = "etcd is ready"

// ServeEtcd runs one etcd server until ctx ends: the same code as the program etcd,
// with its defaults, in a process of its own. It is what the benchmark runs itself
// again for.
func ServeEtcd(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := etcdConfig(args)
	if err != nil {
		return err
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer server.Close() // hands leadership over, as the program does at SIGTERM
	select {
	case <-server.Server.ReadyNotify():
		fmt.Fprintln(out, etcdReady)
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	}
}

func etcdConfig(args []string) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{"stderr"}
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	flags.StringVar(&cfg.Name, "name", "", "")
	flags.StringVar(&cfg.Dir, "dir", "", "")
	flags.StringVar(&cfg.InitialCluster, "cluster", "", "")
	flags.UintVar(&cfg.ElectionMs, "election", cfg.ElectionMs, "")
	flags.UintVar(&cfg.TickMs, "heartbeat", cfg.TickMs, "")
	clients := flags.String("clients", "", "")
	peers := flags.String("peers", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	client, errC := url.Parse(*clients)
	peer, errP := url.Parse(*peers)
	if err := errors.Join(errC, errP); err != nil {
		return nil, err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	return cfg, nil
}
