// A guest in Go: makes a table of words first, then reads a line from standard input and answers with the words that have the same letters.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strings"
)

func key(word string) string {
	letters := strings.Split(word, "")
	sort.Strings(letters)
	return strings.Join(letters, "")
}

// All words of a few syllables.
func table() map[string][]string {
	syllables := []string{"ba", "ce", "di", "fo", "gu", "la", "me", "ni", "ro", "su"}
	words, level := []string{}, []string{""}
	for i := 0; i < 4; i++ {
		next := []string{}
		for _, word := range level {
			for _, syllable := range syllables {
				next = append(next, word+syllable)
			}
		}
		words, level = append(words, next...), next
	}
	rows := map[string][]string{}
	for _, word := range words {
		rows[key(word)] = append(rows[key(word)], word)
	}
	return rows
}

func main() {
	rows := table()
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(os.Stderr, "no line:", err)
		os.Exit(3)
	}
	fmt.Println(len(rows), rows[key(strings.TrimSpace(line))])
}
