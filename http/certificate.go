package http

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Certificate is what the service shows who connects by TLS. It is read again when its files have changed, so that one that is renewed
// needs no restart.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex
	looked  time.Time // at the files
	content []byte    // of both, when last looked at
	said    string    // what was last said to be wrong with the files
}

// certificateLook is how often the files are looked at, at most.
const certificateLook = 2 * time.Second

// LoadCertificate reads the certificate, with those that lead from it to an authority, and its key, as PEM.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	cert, key, err := c.read()
	if err != nil {
		return nil, err
	}
	if err := c.use(cert, key); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) read() (cert, key []byte, err error) {
	c.looked = time.Now()
	if cert, err = os.ReadFile(c.certFile); err != nil {
		return nil, nil, fmt.Errorf("the certificate: %w", err)
	}
	if key, err = os.ReadFile(c.keyFile); err != nil {
		return nil, nil, fmt.Errorf("the certificate's key: %w", err)
	}
	return cert, key, nil
}

func (c *Certificate) use(cert, key []byte) error {
	c.content = append(bytes.Clone(cert), key...)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("the certificate %s with the key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	return nil
}

// get returns the certificate for a handshake. Nobody waits for who looks at the files.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		if time.Since(c.looked) >= certificateLook {
			c.look()
		}
		c.mu.Unlock()
	}
	return c.current.Load(), nil
}

// look uses what the files have, if that is something else than before. While one of two has been changed, they do not fit.
func (c *Certificate) look() {
	cert, key, err := c.read()
	if err == nil {
		if len(c.content) == len(cert)+len(key) && bytes.HasPrefix(c.content, cert) && bytes.HasSuffix(c.content, key) {
			return
		}
		err = c.use(cert, key)
	}
	switch {
	case err == nil:
		c.said = ""
		c.logger.Info("the certificate has been loaded again", "file", c.certFile)
	case c.said != err.Error():
		c.said = err.Error()
		c.logger.Warn("the new certificate cannot be used, and the one before still is", "error", err)
	}
}

// listen takes connections by TLS.
func (c *Certificate) listen(listener net.Listener) net.Listener {
	return &tlsListener{listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.get,
	}}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&tlsConn{Conn: c}, l.config), nil
}
