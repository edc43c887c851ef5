package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/semanode/sema"
)

// The places that a setting comes from, besides variables and files.
const (
	fromFlag    = "flag"
	fromDefault = "default"
)

// settings is where the values of a command's flags come from. The first of these that
// has a value decides, for every command: the flag itself, its environment variable,
// the config file if the command has one, the default.
type settings struct {
	places map[string]string // by flag, such as "$SEMANODE_ID" or "semanode.yaml:3"; none: the default
}

type settingsKey struct{}

// settingsOf returns where the command's values come from. settle was called.
func settingsOf(cmd *cobra.Command) *settings {
	if s, ok := cmd.Context().Value(settingsKey{}).(*settings); ok {
		return s
	}
	return &settings{}
}

// settle sets every flag that the command line leaves open, from its variable or else
// from the config file. From then on it counts as given (pflag's Changed). An empty
// variable is none, so that one can be taken back where it is inherited. It returns
// every fault that it finds, joined, as an error of usage.
func settle(cmd *cobra.Command, env func(string) string) error {
	s := &settings{places: map[string]string{}}
	cmd.SetContext(context.WithValue(cmd.Context(), settingsKey{}, s))
	flags := cmd.Flags()
	var faults []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			s.places[f.Name] = fromFlag
		} else if name := envName(f.Name); flagOnly(cmd, f.Name) == "" && env(name) != "" {
			faults = append(faults, s.set(flags, f, env(name), "$"+name))
		}
	})
	if config := flags.Lookup(configFlag); config != nil && config.Value.String() != "" {
		faults = append(faults, s.read(flags, config.Value.String()))
	}
	if err := errors.Join(faults...); err != nil {
		return usageError{err}
	}
	return nil
}

// read sets what is still open from a config file.
func (s *settings) read(flags *pflag.FlagSet, path string) error {
	data, err := readConfig(path)
	if err != nil {
		return err
	}
	entries, err := parseConfig(path, data, flags)
	faults := []error{err}
	for _, e := range entries {
		if s.places[e.key] == "" {
			faults = append(faults, s.set(flags, flags.Lookup(e.key), e.value, fmt.Sprintf("%s:%d", path, e.line)))
		}
	}
	return errors.Join(faults...)
}

// set sets one flag to what was found in a place.
func (s *settings) set(flags *pflag.FlagSet, f *pflag.Flag, value, place string) error {
	s.places[f.Name] = place
	err := flags.Set(f.Name, value)
	if err == nil {
		return nil
	}
	if secret(f) { // err has the value in it
		return fmt.Errorf("%s: invalid %s, which is not shown", place, f.Name)
	}
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		err = invalid.Unwrap()
	}
	return fmt.Errorf("%s: invalid %s %q: %w", place, f.Name, clip(value), err)
}

// place is where a flag's value comes from.
func (s *settings) place(flag string) string {
	if place := s.places[flag]; place != "" {
		return place
	}
	return fromDefault
}

// locate adds to each fault of a setting where the setting comes from, if that is not
// the command line, where people see it.
func (s *settings) locate(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		parts := joined.Unwrap()
		if again := errors.Join(parts...); again == nil || again.Error() != err.Error() {
			return err // it has words of its own
		}
		located := make([]error, len(parts))
		for i, part := range parts {
			located[i] = s.locate(part)
		}
		return errors.Join(located...)
	}
	var invalid *sema.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	field, _, _ := strings.Cut(strings.ToLower(invalid.Field), "[") // the client's Endpoints[0] is of --endpoints
	switch place := s.place(field); place {
	case fromFlag, fromDefault:
		return err
	default:
		return fmt.Errorf("%s: %w", place, err)
	}
}

// invalid is the fault of a setting whose flag can be read. A fault of this kind is told
// with the place that the setting is from, see locate.
func invalid(flag string, value any, limit string, args ...any) error {
	return &sema.InvalidError{Field: flag, Value: fmt.Sprint(value), Limit: fmt.Sprintf(limit, args...)}
}

// words are the lines of a flag's usage as one, without the marks of its placeholder.
func words(f *pflag.Flag) string {
	_, usage := pflag.UnquoteUsage(f)
	return strings.ReplaceAll(usage, "\n", " ")
}
