package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// configFlag names the config file, for the commands that read one.
const configFlag = "config"

// maxConfigBytes bounds a config file. A long one has some kilobytes.
const maxConfigBytes = 1 << 20

// entry is a setting as a config file has it.
type entry struct {
	key, value string
	line       int
}

// notInFile are the flags that are no settings of a node: they cannot be keys.
var notInFile = []string{configFlag, "help", "output"}

// fileKeys returns the keys that a config file may have: the names of the flags.
func fileKeys(flags *pflag.FlagSet) (keys []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notInFile, f.Name) {
			keys = append(keys, f.Name)
		}
	})
	return keys
}

// readConfig returns what is in a file, unless that is too much.
func readConfig(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the config file cannot be read: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the config file cannot be read: %w", err)
	}
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("%s is no config file: it has more than %d bytes", path, maxConfigBytes)
	}
	return data, nil
}

// parseConfig reads a config file: YAML, one mapping of keys to values. Keys are names
// of flags, values what the flags take. A flag that takes a list may have a sequence
// instead, and one that takes pairs a mapping. Anchors, tags and further documents are
// refused: nobody needs them for this. It returns the entries that are well-formed, and
// every fault, joined, each with path and line.
func parseConfig(path string, data []byte, flags *pflag.FlagSet) ([]entry, error) {
	root, err := parseYAML(path, data)
	if root == nil {
		return nil, err
	}
	keys, seen := fileKeys(flags), map[string]int{}
	var entries []entry
	var faults []error
	fault := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s:%d: %w", path, line, fmt.Errorf(format, args...)))
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := key.Value
		switch {
		case key.Kind != yaml.ScalarNode:
			fault(key.Line, "this is no key: want the name of a setting")
		case !slices.Contains(keys, name):
			fault(key.Line, "unknown key %q%s", clip(name), didYouMean(name, keys))
		case seen[name] != 0:
			fault(key.Line, "%q is in line %d already", name, seen[name])
		default:
			seen[name] = key.Line
			text, err := textOf(value, flags.Lookup(name))
			if err != nil {
				fault(value.Line, "invalid %s: %w", name, err)
				continue
			}
			entries = append(entries, entry{name, text, key.Line})
		}
	}
	return entries, errors.Join(faults...)
}

// parseYAML returns the mapping that a file consists of, nil if there is nothing in it.
func parseYAML(path string, data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, syntaxFault(path, err)
	}
	if err := decoder.Decode(&more); err == nil {
		return nil, fmt.Errorf("%s:%d: a second document begins here: want one", path, more.Line)
	} else if err != io.EOF {
		return nil, syntaxFault(path, err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want a setting in each line, such as \"id: n1\"", path, root.Line)
	}
	return root, nil
}

// syntaxFault puts path and line in front of what the library says.
func syntaxFault(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "unknown anchor") { // it goes on with what may be a secret
		text = "a value that begins with * has to be in quotes"
	}
	if number, rest, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok && strings.HasPrefix(text, "line ") {
		return fmt.Errorf("%s:%s: %s", path, number, rest)
	}
	return fmt.Errorf("%s: %s", path, text)
}

// textOf is a value as its flag takes it.
func textOf(value *yaml.Node, f *pflag.Flag) (string, error) {
	list, pairs := shape(f)
	switch {
	case value.Kind == yaml.SequenceNode && list:
		return joinItems(value.Content, func(items []*yaml.Node) (string, error) { return plainText(items[0]) }, 1)
	case value.Kind == yaml.MappingNode && pairs:
		return joinItems(value.Content, pairText, 2)
	}
	return plainText(value)
}

// shape reports whether a flag takes a list, and whether that is one of pairs. The
// placeholder of its usage tells: "HOST:PORT,..." and "ID=HOST:PORT,...".
func shape(f *pflag.Flag) (list, pairs bool) {
	placeholder, _ := pflag.UnquoteUsage(f)
	list = strings.HasSuffix(placeholder, ",...") || f.Value.Type() == "stringSlice"
	return list, list && strings.Contains(placeholder, "=")
}

// joinItems makes one text of a list whose items are so many nodes each.
func joinItems(nodes []*yaml.Node, text func([]*yaml.Node) (string, error), each int) (string, error) {
	var items []string
	for item := range slices.Chunk(nodes, each) {
		text, err := text(item)
		if err == nil && strings.Contains(text, ",") {
			err = errors.New("a comma in an item of a list")
		}
		if err != nil {
			return "", fmt.Errorf("line %d: %w", item[0].Line, err)
		}
		items = append(items, text)
	}
	return strings.Join(items, ","), nil
}

// pairText is a key and its value as flags have them: KEY=VALUE.
func pairText(pair []*yaml.Node) (string, error) {
	key, keyErr := plainText(pair[0])
	value, err := plainText(pair[1])
	if err := errors.Join(keyErr, err); err != nil {
		return "", err
	}
	if strings.Contains(key, "=") {
		return "", errors.New("a key with = in it")
	}
	return key + "=" + value, nil
}

// plainText is a value that is one word or line.
func plainText(value *yaml.Node) (string, error) {
	switch {
	case value.Kind == yaml.AliasNode:
		return "", errors.New("an alias: write the value itself, in quotes if it begins with *")
	case value.Kind != yaml.ScalarNode:
		return "", errors.New("want a single value")
	case value.Style&yaml.TaggedStyle != 0:
		return "", errors.New("a tag: write the value itself, or put it in quotes")
	case value.ShortTag() == "!!null":
		return "", errors.New("no value: leave the key out for the default")
	}
	return value.Value, nil
}

// didYouMean is the end of a sentence about a word that is none of the names.
func didYouMean(word string, names []string) string {
	if near := nearest(word, names); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	return ""
}
