package http_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"tidings/db/dbtest"
	"tidings/triggers"

	"tidings/db"
)

// dataBlock is what the page's program reads.
var dataBlock = regexp.MustCompile(`(?s)<script id="data" type="application/json">(.*?)</script>`)

type pageData struct {
	Latest *struct {
		Cursor   string
		Messages []row
		Comments []row
		Users    []struct {
			ID          int64
			Username    string
			DisplayName string `json:"display_name"`
		}
	}
	Topics []string
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
	var hostile = []string{
		`</script><script>alert(1)</script>`, `<!--<script>`, `]]>`, "\u2028 and \u2029", `"quoted" \ and 'so'`,
		`{{.}} ${x} &amp; &lt;`, "Ж 你好 \U0001F600", "tab\tand\nlines\r\n", `<img src=x onerror=alert(1)>`, "\u0001\u007f",
	}
	for _, text := range hostile {
		id := d.message(text)
		d.comment(id, text)
	}
	d.exec(`update users set display_name = $1`, hostile[0])

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
	data := readPage(t, a)
	if data.Latest == nil || len(data.Latest.Messages) != len(hostile) || len(data.Latest.Comments) != len(hostile) {
		t.Fatalf("the page has %+v", data.Latest)
	}
	for i, text := range hostile {
		if got := data.Latest.Messages[i].Title; got != text {
			t.Errorf("message %d is %q, want %q", i, got, text)
		}
		if got := data.Latest.Comments[i].Content; got != text {
			t.Errorf("comment %d is %q, want %q", i, got, text)
		}
	}
	if users := data.Latest.Users; len(users) != 1 || users[0].Username != "ada" || users[0].DisplayName != hostile[0] {
		t.Errorf("the users are %+v", users)
	}
	if got, want := strings.Join(data.Topics, " "), "activity comments messages presence"; got != want {
		t.Errorf("the topics are %q, want %q", got, want)
	}
	if n := strings.Count(a.body, "<script"); n != 2 {
		t.Errorf("the page has %d scripts, want 2: the data and the program", n)
	}
	for _, dangerous := range []string{"alert(1)</script>", "<img", "\u2028", "\u2029", "<!--"} {
		if strings.Contains(a.body, dangerous) {
			t.Errorf("the page contains %q", dangerous)
		}
	}

	// What comes after the page's cursor is what was not on it.
	c := s.dialQuery("channel=messages&since=" + data.Latest.Cursor)
	d.message("after")
	if f := c.next(); f.Type == "subscribed" {
		c.expectRow("message_added", "after")
	} else if f.row(t).Title != "after" {
		t.Errorf("got %s", f.text)
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
		"/page/page.js":  "text/javascript; charset=utf-8",
		"/page/page.css": "text/css; charset=utf-8",
	} {
		if a := s.get(path); a.status != http.StatusOK || a.header.Get("Content-Type") != want || a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s is %d, %v", path, a.status, a.header)
		}
	}
	for _, path := range []string{"/nothing", "/index.html", "/page/", "/page/index.html", "/page/nothing.js",
		"/page/%2e%2e/server.go", "/healthz/", "/ws/", "/favicon.ico"} {
		if a := s.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s is %d: %s", path, a.status, a.body)
		}
	}
	checkError(t, s.get("/nothing"), "not_found")
	checkError(t, s.get("/page/"), "not_found")
	for _, path := range []string{"/", "/healthz", "/readyz", "/page/page.js"} {
		if a := s.request("POST", path, nil); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is %d", path, a.status)
		}
		if a := s.request("HEAD", path, nil); a.status >= 500 || a.status == http.StatusNotFound || a.body != "" {
			t.Errorf("HEAD %s is %d %q", path, a.status, a.body)
		}
	}
}

func TestPageUsers(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Борис')`)
	s := start(t, d.url, options{})
	for query, want := range map[string]string{
		"":                 `[]`,
		"?id=1":            `[{"id":1,"username":"ada","display_name":"Ada"}]`,
		"?id=2&id=17":      `[{"id":2,"username":"boris","display_name":"Борис"}]`,
		"?id=1&id=1&id=-1": `[{"id":1,"username":"ada","display_name":"Ada"}]`,
	} {
		a := s.get("/page/users" + query)
		var got, wanted any
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusOK || mustJSON(t, got) != mustJSON(t, wanted) {
			t.Errorf("%s is %d: %s, want %s", query, a.status, a.body, want)
		}
	}
	for _, query := range []string{"?id=x", "?id=", "?id=1.5", "?id=99999999999999999999", "?" + strings.Repeat("id=1&", 101)} {
		a := s.get("/page/users" + query)
		if a.status != http.StatusBadRequest {
			t.Errorf("%.50s is %d", query, a.status)
		}
		checkError(t, a, "bad_request")
	}
}

// Where the application's tables are not, the page follows what is watched.
func TestPageOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	opened, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	if err := opened.MigrateUp(t.Context(), db.MigrationSet{Name: "live", Files: triggers.Migrations}); err != nil {
		t.Fatal(err)
	}
	d := &database{t: t, url: address, pool: opened.Pool}
	d.exec(`create table orders (id int primary key)`)
	d.exec(`create table private (id int primary key)`)
	s := start(t, address, options{})
	if data := readPage(t, s.get("/")); data.Latest != nil || data.Topics == nil || len(data.Topics) != 0 {
		t.Errorf("got %+v", data)
	}
	d.exec(`select tidings.watch('orders', read => 'public'), tidings.watch('private')`)
	eventually(t, "the page has the topic", func() bool {
		data := readPage(t, s.get("/"))
		return data.Latest == nil && len(data.Topics) == 1 && data.Topics[0] == "orders"
	})
	a := s.get("/page/users?id=1")
	if a.status != http.StatusNotFound {
		t.Errorf("got %d", a.status)
	}
	checkError(t, a, "not_found")
}
