//go:build !unix

package main

import (
	"context"
	"errors"
	"os"
)

var errUnsupported = errors.New("lock is not supported on this system: it has no process groups that can be stopped as a whole")

// supported is nil where commands can be run under a hold.
func supported() error { return errUnsupported }

func (c *command) run(tenure, <-chan os.Signal) (ending, error) { return ending{}, errUnsupported }

func takeSignals(context.Context) (_ <-chan os.Signal, stop func()) { return nil, func() {} }
