package http_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/chromedp/chromedp"
)

// scripted is where the JavaScript client runs.
type scripted interface {
	// run returns the value of an expression, which may wait for something.
	run(code string) json.RawMessage
}

// inNode runs it in Node, whose process ends by itself when all is closed, with the test.
type inNode struct {
	*npmScript
	runs int
}

func startNode(t testing.TB) *inNode {
	n := &inNode{npmScript: npm(t, "tidings.mjs")}
	t.Cleanup(func() {
		if t.Failed() {
			n.kill() // what it has open may keep it
		}
	})
	return n
}

func (n *inNode) run(code string) json.RawMessage {
	n.t.Helper()
	n.runs++
	id := strconv.Itoa(n.runs)
	n.write(map[string]any{"id": id, "code": code})
	line := n.npmScript.await("the value of "+code, func(line npmLine) bool { return line.ID == id })
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal([]byte(line.text), &answer); err != nil || answer.Error != "" {
		n.t.Fatalf("%s: %v\n%s", code, err, answer.Error)
	}
	return answer.Value
}

// inBrowser runs it in a page of another origin than the service's, which has the client from the service.
type inBrowser struct{ *tab }

func startInBrowser(t *testing.T, browser context.Context, s *service) *inBrowser {
	t.Helper()
	follow := http.FileServer(http.Dir(npmDirectory))
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.Header().Set("Content-Type", "text/javascript")
			follow.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><script type="module">
			import { connect, TidingsError } from 'http://%s/tidings.js';
			import { follow } from './tidings-follow.mjs';
			Object.assign(globalThis, { connect, TidingsError, follow });
		</script>`, s.addr)
	}))
	t.Cleanup(page.Close)
	p := openTab(t, browser)
	p.do(chromedp.Navigate(page.URL))
	p.await("globalThis.follow")
	return &inBrowser{p}
}

func (b *inBrowser) run(code string) json.RawMessage {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(async () => JSON.stringify(await (`+code+`) ?? null))()`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", code, err)
	}
	return json.RawMessage(value)
}
