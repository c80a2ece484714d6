package checks

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// proxy is one of deploy's examples of what stands in front.
type proxy struct {
	name    string
	address string // of the machine
	trust   *tls.Config
}

// quiet is the timeout of the proxies in these tests, instead of 75 s.
const quiet = 8 * time.Second

// proxies start each of the examples with its own file, in which nothing is changed but addresses, where certificates are, and how long
// a timeout is.
var proxies = map[string]func(t *testing.T, upstreams [2]string) *proxy{
	"nginx": func(t *testing.T, upstreams [2]string) *proxy {
		program := need(t, "nginx")
		dir := directory(t)
		certificate, key, trust := selfSigned(t, dir)
		address, plain := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
		site := substitute(t, readFile(t, "../nginx/tidings.conf"),
			"127.0.0.1:8081", upstreams[0], "127.0.0.1:8082", upstreams[1],
			"    listen [::]:80;\n", "", "    listen [::]:443 ssl http2;\n", "",
			"listen 80;", "listen "+plain+";", "listen 443 ssl", "listen "+address+" ssl",
			"/etc/ssl/live.example.com.pem", certificate, "/etc/ssl/live.example.com.key", key,
			"/var/log/nginx/tidings.log", filepath.Join(dir, "access.log"),
			"proxy_read_timeout 75s", fmt.Sprintf("proxy_read_timeout %.0fs", quiet.Seconds()),
			"proxy_send_timeout 75s", fmt.Sprintf("proxy_send_timeout %.0fs", quiet.Seconds()))
		writeFile(t, filepath.Join(dir, "tidings.conf"), site)
		user := ""
		if os.Getuid() == 0 {
			user = "user root;\n"
		}
		var temporary strings.Builder
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&temporary, "%s_temp_path %s/%s;\n", kind, dir, kind)
		}
		main := writeFile(t, filepath.Join(dir, "nginx.conf"), user+"daemon off; worker_processes 1; pid "+dir+"/pid; error_log stderr;\n"+
			"events { worker_connections 1000; }\nhttp {\n"+temporary.String()+"include tidings.conf;\n}\n")
		args := []string{"-e", "stderr", "-p", dir, "-c", main}
		output(t, exec.Command(program, append(args, "-t")...))
		start(t, exec.Command(program, args...))
		return &proxy{"nginx", address, trust}
	},
	"Caddy": func(t *testing.T, upstreams [2]string) *proxy {
		program := need(t, "caddy")
		dir := directory(t)
		certificate, key, trust := selfSigned(t, dir)
		address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		env := environ("HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
		for _, site := range []string{"localhost", "http://", "live.example.com"} {
			check := exec.Command(program, "validate", "--adapter", "caddyfile", "--config", "../caddy/Caddyfile")
			check.Env = append(env[:len(env):len(env)], "SITE_ADDRESS="+site)
			output(t, check)
		}
		file := writeFile(t, filepath.Join(dir, "Caddyfile"), substitute(t, readFile(t, "../caddy/Caddyfile"),
			"\tadmin ", "\tauto_https off\n\tadmin ", "\trespond /readyz 404\n", "\trespond /readyz 404\n\ttls "+certificate+" "+key+"\n"))
		run := exec.Command(program, "run", "--adapter", "caddyfile", "--config", file)
		run.Env = append(env, "CADDY_ADMIN=off", "SITE_ADDRESS=https://"+address, "TIDINGS_UPSTREAMS="+strings.Join(upstreams[:], " "))
		start(t, run)
		return &proxy{"Caddy", address, trust}
	},
	"HAProxy": func(t *testing.T, upstreams [2]string) *proxy {
		program := need(t, "haproxy")
		dir := directory(t)
		certificate, key, trust := selfSigned(t, dir)
		both := writeFile(t, filepath.Join(dir, "both.pem"), readFile(t, certificate)+readFile(t, key))
		address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		file := writeFile(t, filepath.Join(dir, "haproxy.cfg"), substitute(t, readFile(t, "../haproxy/haproxy.cfg"),
			"127.0.0.1:8081", upstreams[0], "127.0.0.1:8082", upstreams[1], "bind :443", "bind "+address, "/etc/haproxy/live.example.com.pem", both,
			"timeout client 75s", fmt.Sprintf("timeout client %.0fs", quiet.Seconds()),
			"timeout server 75s", fmt.Sprintf("timeout server %.0fs", quiet.Seconds()),
			"timeout tunnel 75s", fmt.Sprintf("timeout tunnel %.0fs", quiet.Seconds()),
			"maxconn 30000", "maxconn 1000"))
		output(t, exec.Command(program, "-c", "-f", file))
		start(t, exec.Command(program, "-db", "-f", file))
		return &proxy{"HAProxy", address, trust}
	},
}

// substitute replaces texts, each of which has to be there.
func substitute(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("there is no %q any more", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// Tokens may stand in URLs, also in those of who comes without TLS and is sent to it: nginx logs no query of either.
func TestNginxLogs(t *testing.T) {
	t.Parallel()
	_, servers, _ := strings.Cut(readFile(t, "../nginx/tidings.conf"), "\nserver {")
	for _, server := range strings.Split(servers, "\nserver {") {
		if !strings.Contains(server, "access_log /var/log/nginx/tidings.log tidings;") {
			t.Errorf("nginx logs as it likes: %s", server)
		}
	}
}

// selfSigned makes a certificate of this machine, and what clients need to trust it.
func selfSigned(t *testing.T, dir string) (certificate, key string, trust *tls.Config) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return writeFile(t, filepath.Join(dir, "cert.pem"), string(text)),
		writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))),
		&tls.Config{RootCAs: roots}
}

// Behind each proxy, two instances tell by all transports of what is written, at once; a quiet connection is kept for longer than the
// proxy's timeouts; and when one instance is stopped, and then the other killed, clients come back through the proxy to the one that is
// there, and miss nothing.
func TestProxies(t *testing.T) {
	t.Parallel()
	program(t)
	postgres := startPostgres(t, freePort(t), "secret")
	for name, run := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := postgres.database(t, strings.ToLower(name))
			ports := [2]int{freePort(t), freePort(t)}
			address := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", ports[n]) }
			serve := func(n int) *process {
				cmd := exec.Command(program(t), "serve", "--no-sign-in", "--ping-interval", "1s", "--trusted-proxy", "127.0.0.1")
				cmd.Env = environ("DATABASE_URL="+database, "TIDINGS_LISTEN="+address(n))
				p := start(t, cmd)
				output(t, exec.Command(program(t), "ready", "--server", "http://"+address(n), "--wait", patience.String()))
				return p
			}
			first, second := serve(0), serve(1)
			postgres.sql(t, database, `create table things (id int primary key)`, `do $$ begin perform tidings.watch('things', read => 'public'); end $$`)
			front := run(t, [2]string{address(0), address(1)})
			base := "https://" + front.address

			var rows struct{ Cursor string }
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: front.trust.Clone()}}
			defer client.CloseIdleConnections()
			eventually(t, "the proxy answers", func() (bool, string) {
				response, err := client.Get(base + "/channels/things")
				if err != nil {
					return false, err.Error()
				}
				defer response.Body.Close()
				body, _ := io.ReadAll(response.Body)
				return json.Unmarshal(body, &rows) == nil && rows.Cursor != "", string(body)
			})

			written := 0
			write := func() {
				t.Helper()
				postgres.sql(t, database, fmt.Sprintf("insert into things select generate_series(%d, %d)", written+1, written+3))
				written += 3
			}
			all := followers(t, base, front.trust, 2, rows.Cursor)
			write()
			expectAll(t, all, written)
			for n := range ports {
				if connectionsOf(t, address(n)) == 0 {
					t.Errorf("instance %d of two has no clients: the other has them all", n+1)
				}
			}
			expectQuiet(t, all, 2*quiet+time.Second)
			write()
			expectAll(t, all, written)

			_ = first.cmd.Process.Signal(syscall.SIGTERM)
			write()
			first.end(syscall.SIGTERM)
			write()
			expectAll(t, all, written)

			serve(0)
			second.end(syscall.SIGKILL)
			write()
			expectAll(t, all, written)
		})
	}
}

// connectionsOf asks an instance how many clients it has.
func connectionsOf(t *testing.T, address string) int {
	t.Helper()
	response, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var health struct{ Connections int }
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		t.Fatal(err)
	}
	return health.Connections
}

// recorder stands in for two instances, and notes what proxies make of requests.
type recorder struct {
	mu        sync.Mutex
	requests  map[string][]*http.Request // by path
	addresses [2]string
}

// record listens where two instances would. Of a path's first request the answer is 503 below /busy, and a broken connection below /broken.
func record(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{requests: make(map[string][]*http.Request)}
	for n := range r.addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.addresses[n] = listener.Addr().String()
		server := &http.Server{Handler: r, MaxHeaderBytes: 64 << 10, ReadHeaderTimeout: patience}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	r.mu.Lock()
	first := len(r.requests[request.URL.Path]) == 0
	r.requests[request.URL.Path] = append(r.requests[request.URL.Path], request.Clone(context.Background()))
	r.mu.Unlock()
	switch {
	case first && strings.HasPrefix(request.URL.Path, "/busy"):
		w.WriteHeader(http.StatusServiceUnavailable)
	case first && strings.HasPrefix(request.URL.Path, "/broken"):
		panic(http.ErrAbortHandler)
	}
}

func (r *recorder) of(path string) []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[path]
}

// What proxies tell of clients, what they try again, and how long a URL may be.
func TestProxiesRequests(t *testing.T) {
	t.Parallel()
	for name, run := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			instances := record(t)
			front := run(t, instances.addresses)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: front.trust.Clone(), ForceAttemptHTTP2: true}}
			defer client.CloseIdleConnections()
			ask := func(method, path string) (*http.Response, error) {
				var body io.Reader
				if method == http.MethodPost {
					body = bytes.NewReader([]byte(`{}`))
				}
				request, err := http.NewRequestWithContext(t.Context(), method, "https://"+front.address+path, body)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("X-Forwarded-For", "192.0.2.1")
				request.Header.Set("X-Forwarded-Proto", "gopher")
				response, err := client.Do(request)
				if err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				return response, err
			}
			status := func(method, path string, want int) {
				t.Helper()
				response, err := ask(method, path)
				if err != nil {
					t.Errorf("%s %.30s: %s", method, path, err)
				} else if response.StatusCode != want {
					t.Errorf("%s %.30s: %s, want %d", method, path, response.Status, want)
				}
			}
			eventually(t, "the proxy answers", func() (bool, string) {
				response, err := ask(http.MethodGet, "/up")
				return err == nil && response.StatusCode == http.StatusOK, fmt.Sprint(err)
			})

			status(http.MethodGet, "/who?channel="+strings.Repeat("x", 30_000), http.StatusOK)
			for _, request := range instances.of("/who") {
				forwarded := strings.Split(request.Header.Get("X-Forwarded-For"), ",")
				if last := strings.TrimSpace(forwarded[len(forwarded)-1]); last != "127.0.0.1" {
					t.Errorf("the last of X-Forwarded-For is %q, want the client's address", last)
				}
				if request.Header.Get("X-Forwarded-Proto") != "https" || len(request.Header.Values("X-Forwarded-Proto")) != 1 {
					t.Errorf("X-Forwarded-Proto is %q", request.Header.Values("X-Forwarded-Proto"))
				}
				if request.Host != front.address {
					t.Errorf("Host is %q, want %q", request.Host, front.address)
				}
			}
			status(http.MethodGet, "/readyz", http.StatusNotFound)
			status(http.MethodGet, "/broken", http.StatusOK)
			if _, err := ask(http.MethodPost, "/broken/post"); err != nil {
				t.Errorf("POST /broken/post: %s", err)
			}
			if n := len(instances.of("/broken/post")); n != 1 && name != "HAProxy" { // which has HTTP/2 clients send it again
				t.Errorf("a POST whose connection broke was sent %d times", n)
			}
			if name != "Caddy" { // which tries none again that was answered
				status(http.MethodGet, "/busy", http.StatusOK)
			}
			status(http.MethodPost, "/busy/post", http.StatusServiceUnavailable)
			if n := len(instances.of("/busy/post")); n != 1 {
				t.Errorf("a POST that was answered 503 was sent %d times", n)
			}
		})
	}
}
