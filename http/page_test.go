package http_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	tidingshttp "tidings/http"
	"tidings/triggers"
)

// dataBlock is what the page's program reads.
var dataBlock = regexp.MustCompile(`(?s)<script id="data" type="application/json">(.*?)</script>`)

type pageData struct {
	Channel, Public, Accounts, SignUp bool
	Topics                            []string
}

func readPage(t *testing.T, a answer) pageData {
	t.Helper()
	blocks := dataBlock.FindAllStringSubmatch(a.body, -1)
	if len(blocks) != 1 {
		t.Fatalf("the page has %d data blocks: %s", len(blocks), a.body)
	}
	var data pageData
	if err := json.Unmarshal([]byte(blocks[0][1]), &data); err != nil {
		t.Fatalf("%v in the data block %s", err, blocks[0][1])
	}
	return data
}

func TestPage(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	a := s.get("/")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d, %v: %s", a.status, a.header, a.body)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws://" +
			s.addr + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
		"Cache-Control":          "no-store",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("the header %s is %q, want %q", name, got, want)
		}
	}
	for _, inline := range []string{"<style", " style=", "javascript:", " onload", " onclick"} {
		if strings.Contains(a.body, inline) {
			t.Errorf("the page has %q", inline)
		}
	}
	// All that it names is there.
	for _, named := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		if f := s.get(named[1]); f.status != http.StatusOK {
			t.Errorf("%s is %d", named[1], f.status)
		}
	}
	if data := readPage(t, a); !data.Channel || !data.Public || data.Accounts || data.SignUp || strings.Join(data.Topics, " ") != "activity comments messages presence" {
		t.Errorf("the page knows %+v", data)
	}

	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	if data := readPage(t, start(t, d.url, options{accounts: accounts}).get("/")); !data.Accounts || !data.SignUp {
		t.Errorf("with accounts, the page knows %+v", data)
	}
	closed, _ := newAccounts(tidingshttp.AccountOptions{SignUpClosed: true})
	d.exec(`update tidings.watches set read = 'signed_in'`)
	if data := readPage(t, start(t, d.url, options{accounts: closed}).get("/")); !data.Accounts || data.SignUp || data.Public || strings.Contains(strings.Join(data.Topics, " "), "messages") {
		t.Errorf("where nobody may sign up or read, the page knows %+v", data)
	}
}

func TestPageHost(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	// What a client puts into its Host must not become a directive.
	for host, want := range map[string]string{
		"tidings.example:8080": "connect-src 'self' ws://tidings.example:8080;",
		"x;script-src":         "connect-src 'self' ;",
		"x'unsafe-inline'":     "connect-src 'self' ;",
		"[::1]:8080":           "connect-src 'self' ws://[::1]:8080;",
		"x,default-src":        "connect-src 'self' ;",
	} {
		policy := s.request("GET", "/", http.Header{"Host": {host}}).header.Get("Content-Security-Policy")
		if !strings.Contains(policy, want) {
			t.Errorf("with the host %q the policy is %q, want %q in it", host, policy, want)
		}
	}
}

func TestPagePaths(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	for path, want := range map[string]string{
		"/page/page.js":       "text/javascript; charset=utf-8",
		"/page/lib/preact.js": "text/javascript; charset=utf-8",
		"/page/page.css":      "text/css; charset=utf-8",
		"/page/icon.svg":      "image/svg+xml",
	} {
		a := s.request("GET", path, http.Header{"Accept-Encoding": {"identity"}})
		if a.status != http.StatusOK || a.header.Get("Content-Type") != want || a.header.Get("Cache-Control") != "no-cache" ||
			a.header.Get("Vary") != "Accept-Encoding" || a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s is %d, %v", path, a.status, a.header)
		}
		tag := a.header.Get("ETag")
		if again := s.request("GET", path, http.Header{"Accept-Encoding": {"identity"}, "If-None-Match": {tag}}); tag == "" || again.status != http.StatusNotModified || again.body != "" {
			t.Errorf("%s with the tag %q is %d", path, tag, again.status)
		}
		zipped := s.request("GET", path, http.Header{"Accept-Encoding": {"br, gzip"}})
		reader, err := gzip.NewReader(strings.NewReader(zipped.body))
		if err != nil {
			t.Fatalf("%s: %v, %v", path, err, zipped.header)
		}
		content, err := io.ReadAll(reader)
		if err != nil || string(content) != a.body || zipped.header.Get("ETag") == tag || len(zipped.body) >= len(a.body) {
			t.Errorf("%s compressed is %d bytes, %v, %v", path, len(zipped.body), zipped.header, err)
		}
	}
	for _, path := range []string{"/nothing", "/index.html", "/page/", "/page/index.html", "/page/nothing.js",
		"/page/%2e%2e/server.go", "/page/lib/", "/page/lib/LICENSE.preact", "/page/users", "/healthz/", "/ws/", "/favicon.ico"} {
		if a := s.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s is %d: %s", path, a.status, a.body)
		}
	}
	checkError(t, s.get("/nothing"), "not_found")
	checkError(t, s.get("/page/"), "not_found")
	eventually(t, "the service is ready", s.ready)
	for _, path := range []string{"/", "/healthz", "/readyz", "/page/page.js"} {
		if a := s.request("POST", path, nil); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is %d", path, a.status)
		}
		if a := s.request("HEAD", path, nil); a.status >= 500 || a.status == http.StatusNotFound || a.body != "" {
			t.Errorf("HEAD %s is %d %q", path, a.status, a.body)
		}
	}
}

// Where the application's tables are not, the page follows what is watched.
func TestPageOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	d := anotherDatabase(t)
	d.exec(`create table orders (id int primary key)`)
	d.exec(`create table private (id int primary key)`)
	s := start(t, d.url, options{})
	if data := readPage(t, s.get("/")); data.Channel || data.Topics == nil || len(data.Topics) != 0 {
		t.Errorf("got %+v", data)
	}
	d.exec(`select tidings.watch('orders', read => 'public'), tidings.watch('private')`)
	eventually(t, "the page has the topic", func() bool {
		data := readPage(t, s.get("/"))
		return !data.Channel && len(data.Topics) == 1 && data.Topics[0] == "orders"
	})
}

// anotherDatabase returns one in which the application's tables are not.
func anotherDatabase(t *testing.T) *database {
	t.Helper()
	address := dbtest.Database(t)
	opened, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	if err := opened.MigrateUp(t.Context(), db.MigrationSet{Name: "live", Files: triggers.Migrations}); err != nil {
		t.Fatal(err)
	}
	return &database{t: t, url: address, pool: opened.Pool}
}
