// Appends entries of 200 bytes to Tessera's POSIX log, each durable before it counts: what `cargo bench --bench seal` is
// compared with. Many at once, as its documentation advises; the best of the batch sizes is its figure.
//
//	go run . DIR COUNT
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func run(directory string, count int, batch uint, writers int) (float64, string) {
	ctx := context.Background()
	skey, vkey, err := note.GenerateKey(rand.Reader, "example.net/tessera")
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	driver, err := posix.New(ctx, posix.Config{Path: directory})
	must(err)
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithBatching(batch, 20*time.Millisecond).
		WithCheckpointInterval(time.Second).WithPushback(uint(4 * writers))
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	must(err)
	began := time.Now()
	var wait sync.WaitGroup
	for writer := 0; writer < writers; writer++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for number := writer; number < count; number += writers {
				entry := make([]byte, 200)
				copy(entry, strconv.Itoa(number))
				// The future is there once the entry has its index, durably.
				_, err := appender.Add(ctx, tessera.NewEntry(entry))()
				must(err)
			}
		}()
	}
	wait.Wait()
	took := time.Since(began).Seconds()
	must(shutdown(ctx))
	return float64(count) / took, vkey
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("go run . DIR COUNT")
	}
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	for _, batch := range []uint{256, 1024, 4096, 16384} {
		directory := filepath.Join(os.Args[1], strconv.Itoa(int(batch)))
		rate, vkey := run(directory, count, batch, int(2*batch))
		must(os.WriteFile(directory+".vkey", []byte(vkey), 0o644))
		line, err := json.Marshal(map[string]any{"batch": batch, "entries": count, "durable_entries_per_s": int(rate)})
		must(err)
		fmt.Println(string(line))
	}
}
