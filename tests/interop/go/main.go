// Verifies a log with Go's own note and tlog packages, one verdict on stdout: JSON on stdin, or a
// folder of static files (C2SP tlog-tiles) and the log's key as arguments.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// signedTree opens a checkpoint.
func signedTree(vkey string, data []byte) (size int64, root tlog.Hash, err error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, root, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return 0, root, err
	}
	var origin, text string
	if _, err := fmt.Sscanf(opened.Text, "%s\n%d\n%s\n", &origin, &size, &text); err != nil {
		return 0, root, err
	}
	root, err = tlog.ParseHash(text)
	return size, root, err
}

func verify(in input) error {
	size, signed, err := signedTree(in.VKey, []byte(in.Note))
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

// folder reads tiles of height 8 out of static files.
type folder string

func (f folder) Height() int                             { return 8 }
func (f folder) SaveTiles(tiles []tlog.Tile, _ [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range tiles {
		data, err := f.read(fmt.Sprint(tile.L), tile.N, tile.W)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// read finds a tile; a wider one serves as well. C2SP's paths lack the height that Go's have.
func (f folder) read(kind string, number int64, width int) ([]byte, error) {
	path := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		path = fmt.Sprintf("x%03d/%s", number%1000, path)
	}
	path = filepath.Join(string(f), "tile", kind, path)
	if width < 256 {
		if data, err := os.ReadFile(fmt.Sprintf("%s.p/%d", path, width)); err == nil {
			return data, nil
		}
	}
	data, err := os.ReadFile(path)
	if err == nil && kind != "entries" {
		data = data[:32*width]
	}
	return data, err
}

// verifyFolder checks every entry of the bundles against the signed tree, by the hash tiles.
func verifyFolder(f folder, vkey string) error {
	data, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	if err != nil {
		return err
	}
	size, root, err := signedTree(vkey, data)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, f)
	for first := int64(0); first < size; first += 256 {
		width := min(256, size-first)
		bundle, err := f.read("entries", first/256, int(width))
		if err != nil {
			return err
		}
		var indexes []int64
		var hashes []tlog.Hash
		for i := first; i < first+width; i++ {
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
			hashes = append(hashes, tlog.RecordHash(bundle[2:length]))
			bundle = bundle[length:]
		}
		found, err := reader.ReadHashes(indexes)
		if err != nil {
			return fmt.Errorf("entries from %d on: %v", first, err)
		}
		for i := range found {
			if found[i] != hashes[i] {
				return fmt.Errorf("entry %d is not the one in the tree", first+int64(i))
			}
		}
		if len(bundle) != 0 {
			return fmt.Errorf("the bundle from entry %d on is too long", first)
		}
	}
	return nil
}

func run() error {
	if len(os.Args) == 3 {
		return verifyFolder(folder(os.Args[1]), os.Args[2])
	}
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	return verify(in)
}

func main() {
	if err := run(); err != nil {
		fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println("accepted")
}
