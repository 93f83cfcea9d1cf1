// Verifies a log with Go's own note and tlog packages: JSON on stdin, one verdict on stdout.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type input struct {
	VKey        string     `json:"vkey"`
	Note        string     `json:"note"`
	Entries     [][]byte   `json:"entries"`
	Inclusion   [][][]byte `json:"inclusion"`
	Consistency [][][]byte `json:"consistency"`
	Roots       [][]byte   `json:"roots"`
}

func hash(data []byte) (h tlog.Hash) {
	copy(h[:], data)
	return h
}

func hashes(data [][]byte) (all []tlog.Hash) {
	for _, item := range data {
		all = append(all, hash(item))
	}
	return all
}

func verify(in input) error {
	verifier, err := note.NewVerifier(in.VKey)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(in.Note), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	var origin, root string
	var size int64
	if _, err := fmt.Sscanf(opened.Text, "%s\n%d\n%s\n", &origin, &size, &root); err != nil {
		return err
	}
	signed, err := tlog.ParseHash(root)
	if err != nil {
		return err
	}
	if int(size) != len(in.Entries) {
		return fmt.Errorf("checkpoint covers %d entries, got %d", size, len(in.Entries))
	}
	for i, entry := range in.Entries {
		proof := tlog.RecordProof(hashes(in.Inclusion[i]))
		if err := tlog.CheckRecord(proof, size, signed, int64(i), tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("entry %d: %v", i, err)
		}
	}
	for old, data := range in.Consistency {
		proof := tlog.TreeProof(hashes(data))
		err := tlog.CheckTree(proof, size, signed, int64(old+1), hash(in.Roots[old]))
		if err != nil {
			return fmt.Errorf("consistency %d: %v", old+1, err)
		}
	}
	return nil
}

func main() {
	var in input
	decoder := json.NewDecoder(os.Stdin)
	if err := decoder.Decode(&in); err != nil {
		fmt.Println("refused:", err)
		os.Exit(2)
	}
	if err := verify(in); err != nil {
		fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println("accepted")
}
