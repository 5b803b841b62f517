#!/bin/sh
# Makes the certificates of this directory anew, as docs/certificates.md says to make them with CFSSL (1.6.5). Only their public
# parts are kept: the keys are made in a directory that is removed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cfssl gencert -initca "$here/ca-csr.json" | cfssljson -bare ca
sign="cfssl gencert -ca ca.pem -ca-key ca-key.pem -config $here/ca-config.json"
$sign -profile peer "$here/server-csr.json" | cfssljson -bare node-1
$sign -profile server -hostname localhost,127.0.0.1 "$here/server-csr.json" | cfssljson -bare server
$sign -profile client "$here/client-csr.json" | cfssljson -bare root
$sign -profile client -cn nobody "$here/client-csr.json" | cfssljson -bare nobody
# The book's own way: names of an organisation, and RSA.
cat > rsa-csr.json <<'JSON'
{ "CN": "root", "key": { "algo": "rsa", "size": 2048 }, "hosts": [""],
  "names": [{ "C": "CA", "L": "ON", "ST": "Toronto", "O": "My Company", "OU": "Distributed Services" }] }
JSON
$sign -profile client rsa-csr.json | cfssljson -bare root-rsa
# A list that revokes root's certificate. CFSSL takes serial numbers as decimals, and writes the list without its armour.
python3 -c "print(int('$(openssl x509 -in root.pem -noout -serial | sed 's/serial=//')', 16))" > serials
{
    echo '-----BEGIN X509 CRL-----'
    cfssl gencrl serials ca.pem ca-key.pem | fold -w 64
    echo
    echo '-----END X509 CRL-----'
} | sed '/^$/d' > crl.pem

for name in ca node-1 server root nobody root-rsa crl; do cp "$name.pem" "$here/$name.pem"; done
