package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

const defaultEndpoint = "127.0.0.1:7362"

// authTokenEnv has the token itself: it is no flag, which everybody on the machine could read.
const authTokenEnv = "SEMANODE_AUTH_TOKEN"

// request is what the commands that ask a cluster have in common: whom to ask,
// for how long, and how to print the answer.
type request struct {
	endpoints string
	tls       requestTLS
	tokenFile string
	timeout   time.Duration
	output    choice
}

// addRequest adds the flags of a request to a command.
func addRequest(cmd *cobra.Command) *request {
	r := &request{output: choice{"text", []string{"text", "json"}}}
	r.addEndpoints(cmd)
	cmd.Flags().DurationVar(&r.timeout, "rpc-timeout", 10*time.Second, "how long to try before giving up")
	addChoice(cmd, &r.output, "output", "o", "`FORMAT` of the answer")
	return r
}

// addEndpoints adds the flags that say whom to ask, and how to be sure of them.
func (r *request) addEndpoints(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.endpoints, "endpoints", defaultEndpoint,
		"nodes to ask, `HOST:PORT,...`; one that lives is\nenough; or $"+envName("endpoints"))
	r.tls.add(cmd)
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "`FILE` with the token that says who asks, read again when it\nchanges; without, $"+authTokenEnv)
}

// connect returns a client of the cluster. It does not wait for a connection.
func (r *request) connect() (*connection, error) {
	if r.timeout <= 0 {
		return nil, invalid("rpc-timeout", r.timeout, "more than 0")
	}
	endpoints := strings.Split(r.endpoints, ",")
	for i, e := range endpoints {
		endpoints[i] = strings.TrimSpace(e)
	}
	cfg := client.Config{Endpoints: endpoints}
	files, err := r.tls.apply(&cfg)
	if err != nil {
		return nil, err
	}
	if err := r.identify(&cfg); err != nil {
		return nil, errors.Join(err, files())
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, errors.Join(err, files())
	}
	return &connection{c, files}, nil
}

// identify puts the token that says who asks into the configuration, if there is one.
func (r *request) identify(cfg *client.Config) error {
	if r.tokenFile == "" {
		cfg.Token = strings.TrimSpace(os.Getenv(authTokenEnv))
		return nil
	}
	cfg.TokenSource = client.TokenFile(r.tokenFile)
	_, err := cfg.TokenSource() // better now than as the reason of each try
	return err
}

// ask gives a client, and the time that there is, to what asks the cluster.
func (r *request) ask(cmd *cobra.Command, ask func(ctx context.Context, c *client.Client) error) error {
	c, err := r.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), r.timeout)
	defer cancel()
	return ask(ctx, c.Client)
}

// printer returns where the command's answer goes.
func (r *request) printer(cmd *cobra.Command) printer {
	return printer{w: cmd.OutOrStdout(), json: r.output.value == "json"}
}

// refused turns the answers "not held" and "not found" into a refusal with a
// text that says what to make of it, and prints it if that is to be JSON. Other
// errors stay as they are.
func (r *request) refused(cmd *cobra.Command, name string, err error, text string) error {
	if !errors.Is(err, sema.ErrNotHeld) && !errors.Is(err, sema.ErrNotFound) {
		return err
	}
	return errors.Join(r.printer(cmd).refusal(name, text), &refusal{text: text, cause: err})
}

// defaultOwner tells people where a hold came from.
func defaultOwner() string {
	who := "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s:%d", who, host, os.Getpid())
}
