package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/internal/pki"
)

func readAuthority(cert, key string) (*pki.Authority, error) {
	certPEM, certErr := os.ReadFile(cert)
	keyPEM, keyErr := os.ReadFile(key)
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	authority, err := pki.LoadAuthority(pki.Pair{Cert: certPEM, Key: keyPEM})
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", cert, key, err)
	}
	return authority, nil
}

// write writes a certificate and its key, and tells where. Neither is replaced unless that
// was asked for.
func (f *certFlags) write(cmd *cobra.Command, name string, pair pki.Pair) error {
	cert, key := filepath.Join(f.dir, name+".pem"), filepath.Join(f.dir, name+"-key.pem")
	if !f.force {
		for _, path := range []string{cert, key} {
			if _, err := os.Lstat(path); err == nil {
				return usagef("%s exists: --force replaces it", path)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := writeWhole(key, pair.Key, 0o600); err != nil { // first: without it the certificate is good for nothing
		return err
	}
	if err := writeWhole(cert, pair.Cert, 0o644); err != nil {
		return fmt.Errorf("%w; its key is in %s already, and needs it: make both again", err, key)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", cert, key)
	return err
}

// writeWhole writes a file so that whoever reads it sees all of it or what was there before.
func writeWhole(path string, data []byte, mode fs.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, writeErr := file.Write(data)
	if err := errors.Join(writeErr, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
