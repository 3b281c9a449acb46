// Checks evenkeel's log of seals with Go's own transparency log code (golang.org/x/mod/sumdb) and transparency-dev's formats, and writes one for evenkeel
// to check. It shares nothing with evenkeel but the published formats.
//
//	interop check DIR VKEY WITNESS PROOF...   the checkpoint, every tile and leaf, consistency with every smaller size, proofs
//	interop write DIR NAME COUNT              a log of COUNT seals, signed by a new key; prints its verifier key
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	cosign "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// path is the file of a tile: C2SP leaves out the height that Go's own layout names.
func path(tile tlog.Tile) string {
	level := "entries"
	if tile.L >= 0 {
		level = strconv.Itoa(tile.L)
	}
	number := fmt.Sprintf("%03d", tile.N%1000)
	for rest := tile.N / 1000; rest > 0; rest /= 1000 {
		number = fmt.Sprintf("x%03d/%s", rest%1000, number)
	}
	if tile.W < 1<<height {
		number += fmt.Sprintf(".p/%d", tile.W)
	}
	return "tile/" + level + "/" + number
}

type directory struct{ root string }

func (d directory) Height() int { return height }

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(d.root, path(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func open(text []byte, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	must(err)
	return tree(opened.Text)
}

func tree(text string) tlog.Tree {
	lines := strings.Split(text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	found := tlog.Tree{N: size}
	copy(found.Hash[:], root)
	return found
}

func leaves(root string, size int64) [][]byte {
	var all [][]byte
	for first := int64(0); first < size; first += 1 << height {
		width := min(size-first, 1<<height)
		bundle, err := os.ReadFile(filepath.Join(root, path(tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)})))
		must(err)
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			all = append(all, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
	}
	return all
}

func check(root, vkey, witness string, proofs []string) {
	text, err := os.ReadFile(filepath.Join(root, "checkpoint"))
	must(err)
	head := open(text, vkey)
	// Reading through it authenticates every tile against the checkpoint's root.
	reader := tlog.TileHashReader(head, directory{root})
	entries := leaves(root, head.N)
	if int64(len(entries)) != head.N {
		log.Fatalf("%d leaves in a log of %d", len(entries), head.N)
	}
	for index, entry := range entries {
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		must(err)
		if hashes[0] != tlog.RecordHash(entry) {
			log.Fatalf("leaf %d is not what its tile says", index)
		}
	}
	for size := int64(1); size <= head.N; size++ {
		old, err := tlog.TreeHash(size, reader)
		must(err)
		path, err := tlog.ProveTree(head.N, size, reader)
		must(err)
		must(tlog.CheckTree(path, head.N, head.Hash, size, old))
	}
	for _, file := range proofs {
		checkProof(file, vkey, witness)
	}
	fmt.Printf("go: %d seals, %d proofs\n", head.N, len(proofs))
}

// checkProof reads a C2SP tlog-proof as transparency-dev does, and wants the witness's cosignature too.
func checkProof(file, vkey, witness string) {
	text, err := os.ReadFile(file)
	must(err)
	var found proof.TLogProof
	must(found.Unmarshal(text))
	head := open(found.Checkpoint, vkey)
	cosigner, err := cosign.NewVerifierForCosignatureV1(witness)
	must(err)
	_, err = note.Open(found.Checkpoint, note.VerifierList(cosigner))
	must(err)
	var path tlog.RecordProof
	for _, hash := range found.Hashes {
		path = append(path, tlog.Hash(hash))
	}
	var sealed struct{ Leaf string }
	must(json.Unmarshal(found.ExtraData, &sealed))
	must(tlog.CheckRecord(path, head.N, head.Hash, int64(found.Index), tlog.RecordHash([]byte(sealed.Leaf))))
}

// hashes is every hash of a tree, in Go's order.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, index := range indexes {
		all = append(all, h[index])
	}
	return all, nil
}

func write(root, name string, count int64) {
	var stored hashes
	var entries [][]byte
	for seq := int64(0); seq < count; seq++ {
		// Every leaf is a batch of one entry whose link is some hash: only the seals' own rules are at stake here.
		head := func(number int64) string {
			if number == 0 {
				return os.Getenv("GENESIS")
			}
			hash := tlog.RecordHash([]byte(strconv.FormatInt(number, 10)))
			return hex.EncodeToString(hash[:])
		}
		leaf := fmt.Sprintf(`{"seal":"batch","partition":0,"first_seq":%d,"count":1,"epoch":%d,"until_us":%d,`+
			`"previous_head":"%s","head":"%s","root":"%s","from_offset":%d,"next_offset":%d}`,
			seq, seq, seq, head(seq), head(seq+1), head(seq+1), seq, seq+1)
		entries = append(entries, []byte(leaf))
		more, err := tlog.StoredHashes(seq, []byte(leaf), stored)
		must(err)
		stored = append(stored, more...)
	}
	for _, tile := range tlog.NewTiles(height, 0, count) {
		data, err := tlog.ReadTileData(tile, stored)
		must(err)
		save(root, path(tile), data)
	}
	for first := int64(0); first < count; first += 1 << height {
		var bundle []byte
		width := min(count-first, 1<<height)
		for _, entry := range entries[first : first+width] {
			bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
			bundle = append(bundle, entry...)
		}
		save(root, path(tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)}), bundle)
	}
	hash, err := tlog.TreeHash(count, stored)
	must(err)
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	text := fmt.Sprintf("%s\n%d\n%s\n", name, count, base64.StdEncoding.EncodeToString(hash[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	must(err)
	save(root, "checkpoint", signed)
	fmt.Println(vkey)
}

func save(root, name string, data []byte) {
	file := filepath.Join(root, name)
	must(os.MkdirAll(filepath.Dir(file), 0o755))
	must(os.WriteFile(file, data, 0o644))
}

func main() {
	switch {
	case len(os.Args) >= 5 && os.Args[1] == "check":
		check(os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	case len(os.Args) == 5 && os.Args[1] == "write":
		count, err := strconv.ParseInt(os.Args[4], 10, 64)
		must(err)
		write(os.Args[2], os.Args[3], count)
	default:
		log.Fatal("interop check DIR VKEY WITNESS PROOF... | interop write DIR NAME COUNT")
	}
}
