package http_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/db"
	tidingshttp "tidings/http"
	"tidings/http/browsertest"
	"tidings/http/graph"
	"tidings/realtime"
)

// TestGraphiQL tries the API as people do, in a real browser.
func TestGraphiQL(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"runs what it begins with": testGraphiQLRuns,
		"sends a token":            testGraphiQLToken,
		"looks well":               testGraphiQLLooks,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

// graphiql is its page in a tab.
type graphiql struct{ *tab }

func openGraphiQL(t *testing.T, browser context.Context, s *service) graphiql {
	t.Helper()
	g := graphiql{openTab(t, browser)}
	g.load(s)
	return g
}

// load loads the page, and waits until it knows the schema.
func (g graphiql) load(s *service) {
	g.t.Helper()
	g.do(chromedp.Navigate("http://" + s.addr + "/graphql"))
	g.await(`document.querySelector('.graphiql-query-editor .CodeMirror')?.CodeMirror.options.hintOptions.schema?.getType('Message')`)
}

// open opens one of the operations that it begins with.
func (g graphiql) open(operation string) {
	g.t.Helper()
	evaluate[chromedp.Void](g.tab, fmt.Sprintf(`[...document.querySelectorAll('.graphiql-tab-button')].find((b) => b.textContent === %q).click()`, operation))
	g.await(fmt.Sprintf(`document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.operationName === %q`, operation))
}

// run begins or ends an operation.
func (g graphiql) run() {
	g.t.Helper()
	evaluate[chromedp.Void](g.tab, `document.querySelector('.graphiql-execute-button').click()`)
}

// result is what is shown of an operation's.
const result = `(document.querySelector('.result-window .CodeMirror').CodeMirror.getValue())`

func (g graphiql) expect(condition string) {
	g.t.Helper()
	defer func() {
		if g.t.Failed() {
			g.t.Logf("the result is %s", evaluate[string](g.tab, result))
		}
	}()
	g.await(`((text) => { const data = (text && JSON.parse(text))?.data; return ` + condition + ` })(` + result + `)`)
}

func testGraphiQLRuns(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	first := d.message("first")
	d.comment(first, "its comment")
	s := start(t, d.url, options{})
	g := openGraphiQL(t, browser, s)

	g.run()
	g.expect(`data?.messages.nodes[0].comments.nodes[0].content === 'its comment'`)

	follow := func(operation, topic string, then func()) {
		t.Helper()
		g.open(operation)
		g.run()
		eventually(t, "it has subscribed", func() bool { return s.hub.Stats().Subscriptions[topic] > 0 })
		then()
		g.run()
		s.awaitConnections(0)
	}
	follow("MessageAdded", "messages", func() {
		for _, title := range []string{"second", "third"} {
			d.message(title)
			g.expect(fmt.Sprintf(`data?.messageAdded.title === %q && data.messageAdded.author.username === 'ada'`, title))
		}
	})
	follow("CommentAdded", "comments", func() {
		d.comment(first, "live")
		g.expect(`data?.commentAdded.content === 'live'`)
	})
	follow("Events", "messages", func() {
		d.message("fourth")
		g.expect(`data?.events.type === 'message_added' && data.events.data.title === 'fourth'`)
	})
	g.open("CreateMessage")
	g.run()
	g.expect(`data?.createMessage.message.author.username === 'ada'`)
	if n := query[int](d, `select count(*) from messages where title = 'Hello'`); n != 1 {
		t.Errorf("%d messages were written, want 1", n)
	}

	// The schema's documentation.
	evaluate[chromedp.Void](g.tab, `document.querySelector('[aria-label="Show Documentation Explorer"]').click()`)
	g.await(`document.querySelector('.graphiql-doc-explorer')?.textContent.includes('Subscription')`)
	// The dialogs, which bring styles of their own.
	evaluate[chromedp.Void](g.tab, `document.querySelector('[aria-label="Open settings dialog"]').click()`)
	g.await(`document.querySelector('.graphiql-dialog')`)
	if evaluate[bool](g.tab, `document.querySelector('.graphiql-dialog').textContent.includes('Persist headers')`) {
		t.Error("a token can be left in the browser")
	}

	// Loaded again, it has the same tabs.
	tabs := `[...document.querySelectorAll('.graphiql-tab-button')].map((b) => b.textContent).join()`
	want := evaluate[string](g.tab, tabs)
	for range 2 {
		g.load(s)
		if got := evaluate[string](g.tab, tabs); got != want || strings.Count(got, ",") != 4 {
			t.Errorf("loaded again, its tabs are %q; they were %q", got, want)
		}
	}

	foreign := evaluate[[]string](g.tab, `performance.getEntriesByType('resource').map((e) => e.name)
		.filter((name) => new URL(name).host !== location.host && !name.startsWith('data:'))`)
	if len(foreign) > 0 {
		t.Errorf("it loads from elsewhere: %q", foreign)
	}
	g.expectNoErrors()
}

// The header that is given in the page goes with requests and on the WebSocket, where this service refuses any.
func testGraphiQLToken(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := start(t, d.url, options{})
	g := openGraphiQL(t, browser, s)
	for operation, want := range map[string]string{"LatestMessages": "no tokens are taken here", "MessageAdded": "4403 Forbidden"} {
		g.open(operation)
		evaluate[chromedp.Void](g.tab, `[...document.querySelectorAll('.graphiql-editor-tools button')].find((b) => b.textContent === 'Headers').click()`)
		evaluate[chromedp.Void](g.tab, `document.querySelector('.graphiql-editor-tool .graphiql-editor:not(.hidden) .CodeMirror').CodeMirror.setValue('{"Authorization": "Bearer token"}')`)
		g.run()
		g.await(result + fmt.Sprintf(`.includes(%q)`, want))
	}
	if evaluate[bool](g.tab, `JSON.stringify(localStorage).includes('Bearer token')`) {
		t.Error("the token is left in the browser")
	}
}

// Light and dark. The pictures are for looking at.
func testGraphiQLLooks(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	d.comment(d.message("Welcome"), "Nice to be here!")
	s := start(t, d.url, options{})
	g := openGraphiQL(t, browser, s)
	for _, scheme := range []string{"light", "dark"} {
		g.screen(1280, scheme)
		g.load(s)
		g.run()
		g.expect(`data?.messages.nodes[0].title === 'Welcome'`)
		g.picture(scheme + ".png")
	}
	g.expectNoErrors()
}

// What the page is made of comes compressed to who takes that, and may be kept by its path, which has a hash of it.
func TestGraphiQLFiles(t *testing.T) {
	t.Parallel()
	s := start(t, newDatabase(t).url, options{})
	page := s.request("GET", "/graphql", http.Header{"Accept": {"text/html"}})
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || !strings.Contains(policy, "connect-src 'self' ws://"+s.addr+";") {
		t.Errorf("the policy is %q", policy)
	}
	paths := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if page.status != http.StatusOK || len(paths) < 5 {
		t.Fatalf("got %d %s", page.status, page.body)
	}
	var version string
	for _, match := range paths {
		path := match[1]
		version = strings.Split(path, "/")[3]
		var plain string
		for accepted, want := range map[string]bool{"identity": false, "br;q=1, gzip;q=0": false, "deflate, gzip": true, "GZIP;q=0.5": true} {
			got := s.request("GET", path, http.Header{"Accept-Encoding": {accepted}})
			if compressed := got.header.Get("Content-Encoding") == "gzip"; compressed {
				if !want {
					t.Errorf("%s is compressed for %q", path, accepted)
				}
				reader, err := gzip.NewReader(strings.NewReader(got.body))
				if err != nil {
					t.Fatal(err)
				}
				content, err := io.ReadAll(reader)
				if err != nil {
					t.Fatal(err)
				}
				got.body = string(content)
			} else if want && got.header.Get("Vary") != "" {
				t.Errorf("%s is not compressed for %q", path, accepted)
			}
			if plain == "" {
				plain = got.body
			}
			if got.status != http.StatusOK || got.body == "" || got.body != plain || !strings.Contains(got.header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s for %q: got %d, %d bytes, %v", path, accepted, got.status, len(got.body), got.header)
			}
		}
	}
	for _, path := range []string{
		"/graphql/files/other/graphiql.js", "/graphql/files/" + version + "/index.html", "/graphql/files/" + version + "/graphiql.js.gz",
		"/graphql/files/" + version + "/none.js", "/graphql/files/" + version + "/..%2fpage%2fpage.js", "/graphql/files/",
	} {
		if got := s.get(path); got.status != http.StatusNotFound || got.header.Get("Cache-Control") != "" {
			t.Errorf("%s: got %d %v", path, got.status, got.header)
		}
	}
}

// Where the API does not tell its schema there is no page for it.
func TestGraphiQLOff(t *testing.T) {
	t.Parallel()
	hub := realtime.NewHub(nil, realtime.Options{})
	api := graph.New(&db.Channel{}, func() bool { return false }, hub, slog.New(slog.DiscardHandler), graph.Options{})
	defer api.Close()
	server := httptest.NewServer((&tidingshttp.Server{Hub: hub, Graph: api}).Handler())
	defer server.Close()
	s := &service{t: t, addr: server.Listener.Addr().String()}
	for _, path := range []string{"/graphql", "/graphql/files/1/graphiql.js"} {
		got := s.request("GET", path, http.Header{"Accept": {"text/html"}})
		if got.status != http.StatusNotFound || !strings.Contains(got.body, "off outside of development") {
			t.Errorf("%s: got %d %s", path, got.status, got.body)
		}
	}
}
