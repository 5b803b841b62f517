package main

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"
)

// TestCluster runs every check against the cluster that VARVE_ADDR names.
func TestCluster(t *testing.T) {
	addr := os.Getenv("VARVE_ADDR")
	if addr == "" {
		t.Skip("VARVE_ADDR names no server")
	}
	var files tlsFiles
	files.register(flag.NewFlagSet("environment", flag.ContinueOnError))
	var err error
	if transport, err = files.credentials(); err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			said, err := check.run(ctx, addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(said)
		})
	}
}
