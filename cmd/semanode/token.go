package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/access"
)

func newTokenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make tokens that say who asks",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("token needs a command: new")
		},
	}
	cmd.AddCommand(newTokenNewCmd())
	return cmd
}

func newTokenNewCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a token for an identity",
		Long: `New makes a token from 256 random bits. The token goes to stdout, once: it is
kept nowhere. What belongs into the access file, its hash, goes to stderr.

To replace a token, add the new hash beside the old one, give the new token to
whoever uses it, and take the old hash out when nobody uses it any more.`,
		Example: `  semanode token new billing > billing.token
  semanode acquire printer --token-file billing.token`,
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !access.ValidName(args[0]) {
			return usagef("invalid name %q: want 1 to %d of a-z A-Z 0-9 . _ - @ / :", args[0], access.MaxIdentityBytes)
		}
		token := access.NewToken()
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), token); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "In the access file:\n\nidentities:\n  - name: %q\n    tokens: [%q]\n", args[0], token.Hash())
		return err
	}
	return cmd
}
