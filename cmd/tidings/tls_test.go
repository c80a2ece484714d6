package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tidings/db/dbtest"
)

// certify writes a certificate for this machine and its key, and returns who trusts it.
func certify(t *testing.T) (cert, key string, clients *tls.Config) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	trust := x509.NewCertPool()
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(signed)
	if err != nil {
		t.Fatal(err)
	}
	trust.AddCert(parsed)
	return cert, key, &tls.Config{RootCAs: trust}
}

// By TLS, all that a newcomer is told to open is there.
func TestServeByTLS(t *testing.T) {
	t.Parallel()
	cert, key, clients := certify(t)
	p := begin(t, environ("TIDINGS_DATA_DIR="+dbtest.DataDir(t), "TIDINGS_TLS_CERT="+cert), "serve", "--listen", "127.0.0.1:0", "--tls-key", key)
	page := p.await(&p.stdout, `The page: +(https://\S+)`)[1]
	socket := p.await(&p.stdout, `A WebSocket: +(wss://\S+)`)[1]
	p.await(&p.stdout, `GraphQL: +https://`)

	browser := http.Client{Transport: &http.Transport{TLSClientConfig: clients.Clone(), DisableKeepAlives: true}, Timeout: patience}
	response, err := browser.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 || !strings.Contains(string(body), `{"channel":true,`) {
		t.Errorf("the page is %d %s, %v", response.StatusCode, body, err)
	}
	ws, _, err := (&websocket.Dialer{TLSClientConfig: clients.Clone()}).DialContext(t.Context(), socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	(&client{t, ws}).expect("subscribed", "")
}

// What is wrong with the files, or missing, is said with its name.
func TestWrongTLS(t *testing.T) {
	t.Parallel()
	cert, key, _ := certify(t)
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--tls-cert", cert}, []string{"--tls-cert", "--tls-key"}},
		{[]string{"--tls-key", key}, []string{"--tls-cert", "--tls-key"}},
		{[]string{"--tls-cert", cert, "--tls-key", "/none.pem"}, []string{"--tls-key", "/none.pem"}},
		{[]string{"--tls-cert", key, "--tls-key", key}, []string{"--tls-cert", key}},
	} {
		fail(t, environ(), append([]string{"serve", "--listen", "127.0.0.1:0"}, c.args...), c.words...)
	}
}
