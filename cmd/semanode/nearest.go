package main

import (
	"fmt"
	"strings"
)

// nearest returns which of the names was probably meant by a word that is none of
// them, "" if none is like it. Of several that are equally like it, it is the first.
func nearest(word string, names []string) string {
	const longest = 64 // of anything that can be a slip
	if len(word) > longest {
		return ""
	}
	best, found := 1+max(2, len(word)/4), ""
	for _, name := range names {
		if d := distance(plain(word), plain(name)); d < best {
			best, found = d, name
		}
	}
	return found
}

// plain takes away in what names differ that mean the same: dataDir, data_dir, data-dir.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(name))
}

// distance is how many bytes have to be put in, taken out or replaced to make b of a
// (Levenshtein), with one row of the table at a time.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// clip shortens what somebody else wrote, so that an error that shows it stays a line.
func clip(text string) string {
	const most = 64
	if len(text) > most {
		text = fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
