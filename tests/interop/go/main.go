// Command interop holds a running cluster to what any gRPC client in Go expects of log.v1.Log: the five calls, through a
// resolver and a picker that know the leader. It prints what it checked, and exits with 1 if anything was wrong.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8400", "any server of the cluster, as host:port")
	timeout := flag.Duration("timeout", time.Minute, "how long all checks may take together")
	var files tlsFiles
	files.register(flag.CommandLine)
	flag.Parse()
	var err error
	if transport, err = files.credentials(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()

	failed := 0
	for _, check := range checks {
		said, err := check.run(ctx, *addr)
		if err != nil {
			failed++
			fmt.Printf("FAILED  %s: %v\n", check.name, err)
			continue
		}
		fmt.Printf("ok      %s (%s)\n", check.name, said)
	}
	if failed > 0 {
		fmt.Printf("%d of %d checks failed against %s\n", failed, len(checks), *addr)
		os.Exit(1)
	}
	fmt.Printf("all %d checks passed against %s\n", len(checks), *addr)
}
