package http_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tidingshttp "tidings/http"
)

// certified is a certificate of a test's own, in files that may be changed.
type certified struct {
	t         testing.TB
	cert, key string

	mu     sync.Mutex
	serial int64 // of the last that was written
	trust  *x509.CertPool
}

func certify(t testing.TB) *certified {
	t.Helper()
	dir := t.TempDir()
	c := &certified{t: t, cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"), trust: x509.NewCertPool()}
	c.renew()
	return c
}

// renew writes another certificate and its key into the files.
func (c *certified) renew() {
	c.t.Helper()
	cert, key := c.make()
	c.write(c.cert, cert)
	c.write(c.key, key)
}

func (c *certified) write(path string, content []byte) {
	c.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// make makes another certificate and its key, as PEM.
func (c *certified) make() (cert, key []byte) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial++
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(c.serial), Subject: pkix.Name{CommonName: "a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		c.t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	c.trust.AppendCertsFromPEM(cert)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// clients is the configuration of clients that trust all that was made so far.
func (c *certified) clients() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &tls.Config{RootCAs: c.trust.Clone()}
}

// logged is what a service logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// logger logs all there is.
func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Every transport goes over TLS, and a browser is told to stay with it.
func TestTLS(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{tls: certify(t), server: tidingshttp.Options{PingInterval: time.Second}})
	socket := s.dial("messages")
	raw := s.dialRaw("/ws/events?channel=messages")
	if f := raw.frame(); !strings.Contains(f.text, `"event":"subscribed"`) {
		t.Fatalf("got %s", f.text)
	}
	var streams []*stream
	for _, protocol := range protocols {
		e := s.events(protocol, "channel=messages", "")
		e.expect("subscribed")
		streams = append(streams, e)
	}
	operations := s.graphInit()
	operations.begin("1", `subscription { messageAdded { title } }`, nil)
	eventually(t, "all are subscribed", func() bool {
		_, body := s.readyz()
		return body.Connections == 5 && body.Subscriptions["messages"] == 5
	})
	for i := range 100 {
		title := fmt.Sprint("message ", i)
		d.message(title)
		socket.expectRow("message_added", title)
		for _, e := range streams {
			e.expectRow("message_added", title)
		}
		operations.expectResult("1", fmt.Sprintf(`{"messageAdded":{"title":%q}}`, title))
		for f := raw.frame(); !strings.Contains(f.text, title); f = raw.frame() {
			if !strings.Contains(f.text, `"event":"cursor"`) {
				t.Fatalf("got %s, want %s", f.text, title)
			}
		}
	}

	page := s.get("/")
	if page.status != http.StatusOK || !strings.Contains(page.header.Get("Content-Security-Policy"), " wss://"+s.addr+";") {
		t.Errorf("the page is %d, %v", page.status, page.header)
	}
	if got := page.header.Get("Strict-Transport-Security"); !strings.HasPrefix(got, "max-age=") {
		t.Errorf("Strict-Transport-Security is %q", got)
	}
	if a := s.get("/ws"); !strings.Contains(a.body, "wss://"+s.addr+"/ws") {
		t.Errorf("got %s", a.body)
	}

	// What HTTP and TLS of long ago are told.
	response, err := plain.Get("http://" + s.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "HTTPS") {
		t.Errorf("HTTP is answered with %d %q", response.StatusCode, text)
	}
	old := s.tls.Clone()
	old.MaxVersion = tls.VersionTLS11
	if c, err := tls.Dial("tcp", s.addr, old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is taken")
	}
	s.tell()
	socket.expectGoodbye(1001, "shutdown")
}

// A certificate is renewed while clients are connected; one that will not do is not used.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	by, log := certify(t), new(logged)
	s := start(t, d.url, options{tls: by, logger: log.logger()})
	serial := func() int64 {
		c, err := tls.Dial("tcp", s.addr, by.clients())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	c := s.dial("messages")
	if got := serial(); got != 1 {
		t.Errorf("got certificate %d", got)
	}

	cert, key := by.make()
	by.write(by.cert, cert) // which the key in the other file is not of
	const broken = "the new certificate cannot be used"
	eventually(t, "it is said that they do not fit", func() bool {
		if got := serial(); got != 1 {
			t.Fatalf("got certificate %d", got)
		}
		return strings.Contains(log.String(), broken)
	})
	by.write(by.key, key)
	eventually(t, "the new one is used", func() bool { return serial() == 2 })
	if n := strings.Count(log.String(), broken); n != 1 {
		t.Errorf("it was said %d times that they do not fit: %s", n, log)
	}
	d.message("still here")
	c.expectRow("message_added", "still here")
	s.tls = by.clients()
	s.dial("messages")
}

// What is wrong with the files is said with their names.
func TestCertificateThatWillNotDo(t *testing.T) {
	t.Parallel()
	good, other := certify(t), certify(t)
	none := filepath.Join(t.TempDir(), "none.pem")
	text := filepath.Join(t.TempDir(), "text.pem")
	good.write(text, []byte("secret text"))
	for name, c := range map[string]struct {
		cert, key string
		words     []string
	}{
		"no certificate": {none, good.key, []string{none, "the certificate:"}},
		"no key":         {good.cert, none, []string{none, "key"}},
		"text":           {text, good.key, []string{text, "certificate input"}},
		"text for a key": {good.cert, text, []string{text, "key input"}},
		"another's key":  {good.cert, other.key, []string{good.cert, other.key, "match"}},
		"the wrong way":  {good.key, good.cert, []string{good.key, "certificate"}},
		"a directory":    {t.TempDir(), good.key, []string{"directory"}},
	} {
		_, err := tidingshttp.LoadCertificate(c.cert, c.key, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: it is taken", name)
			continue
		}
		for _, word := range c.words {
			if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "secret text") {
				t.Errorf("%s: got %q, want %q in it", name, err, word)
			}
		}
	}
}
