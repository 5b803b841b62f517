package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// tlsFiles says how to speak TLS with the cluster; all empty is in the clear.
type tlsFiles struct {
	ca, cert, key string
	// serverName is what certificates must name, where that is not the host of the address.
	serverName string
}

// register adds a flag for each. Where none is given the variables of the command line program count.
func (f *tlsFiles) register(flags *flag.FlagSet) {
	flags.StringVar(&f.ca, "tls-ca-file", os.Getenv("VARVE_TLS_CA_FILE"), "CA of the servers, in PEM")
	flags.StringVar(&f.cert, "tls-cert-file", os.Getenv("VARVE_TLS_CERT_FILE"), "certificate to show, in PEM")
	flags.StringVar(&f.key, "tls-key-file", os.Getenv("VARVE_TLS_KEY_FILE"), "its key, in PEM")
	flags.StringVar(&f.serverName, "tls-server-name", os.Getenv("VARVE_TLS_SERVER_NAME"), "name that servers' certificates have")
}

// credentials makes grpc-go's from the files.
func (f *tlsFiles) credentials() (grpc.DialOption, error) {
	if *f == (tlsFiles{}) {
		return grpc.WithTransportCredentials(insecure.NewCredentials()), nil
	}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA file holds no certificate")
	}
	certificate, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs:      roots,
		Certificates: []tls.Certificate{certificate},
		ServerName:   f.serverName,
		MinVersion:   tls.VersionTLS13,
	})), nil
}
