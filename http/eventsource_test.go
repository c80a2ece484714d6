package http_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	browserpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	tidingshttp "tidings/http"
	"tidings/http/browsertest"
)

// wire is a network between a client and a service, which can be cut.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	group    sync.WaitGroup
}

func startWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, conns: make(map[net.Conn]struct{})}
	w.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			w.group.Go(func() { w.carry(conn, to) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.cut()
		w.group.Wait()
	})
	return w
}

func (w *wire) carry(conn net.Conn, to string) {
	defer conn.Close()
	other, err := net.Dial("tcp", to)
	if err != nil {
		return // nobody is there
	}
	defer other.Close()
	w.mu.Lock()
	w.conns[conn], w.conns[other] = struct{}{}, struct{}{}
	w.mu.Unlock()
	w.group.Go(func() {
		_, _ = io.Copy(other, conn) // it ends when it is cut
		_ = other.Close()
	})
	_, _ = io.Copy(conn, other)
	w.mu.Lock()
	delete(w.conns, conn)
	delete(w.conns, other)
	w.mu.Unlock()
}

// cut ends all connections, without a word.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}

// A browser's own EventSource resumes by itself, whether its connection is cut, or the service stops and comes back, or is
// full for a while: it has everything exactly once.
func TestEventSource(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"resumes":        testEventSourceResumes,
		"another origin": testEventSourceElsewhere,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

// follow is a page's program.
const follow = `
	window.titles = []; window.others = []; window.opened = 0;
	window.source = new EventSource(%q);
	source.onopen = () => opened++;
	source.onmessage = (e) => {
		const m = JSON.parse(e.data);
		if (m.type === 'message_added' || m.type === 'row') titles.push(m.data.title);
		else others.push(m.type === 'error' ? m.code : m.type);
		if (m.cursor && m.type !== 'loaded' && m.cursor !== e.lastEventId) others.push('the id is ' + e.lastEventId + ' in ' + e.data);
	};
	void 0`

func testEventSourceResumes(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	options := options{server: tidingshttp.Options{PingInterval: 200 * time.Millisecond, MaxConnections: 1}}
	s := start(t, d.url, options)
	w := startWire(t, s.addr)
	p := openTab(t, browser)
	// A document of the same origin that connects to nothing: by itself it could not.
	if _, err := chromedp.Call(p.ctx, browserpage.SetBypassCSP, browserpage.SetBypassCSPParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate("http://" + w.listener.Addr().String() + "/healthz"))
	var want []string
	write := func(title string) {
		t.Helper()
		d.message(title)
		want = append(want, title)
	}
	write("a row")
	evaluate[chromedp.Void](p, fmt.Sprintf(follow, "/events?channel=messages&snapshot=true"))
	p.await(`others.includes('subscribed')`)
	write("live")
	p.await(`titles.length === 2`)

	for n := range 3 {
		opened := evaluate[int](p, `opened`)
		w.cut()
		write(fmt.Sprintf("cut %d", n))
		write(fmt.Sprintf("cut %d, too", n))
		eventually(t, "it has come back", func() bool { return evaluate[int](p, `opened`) > opened })
		write(fmt.Sprintf("after cut %d", n))
		p.await(fmt.Sprintf(`titles.length === %d`, len(want)))
	}

	// The service is stopped, and comes back with its one place taken by another.
	opened := evaluate[int](p, `opened`)
	s.end()
	p.await(`others.includes('goodbye')`)
	write("away")
	options.listen = s.addr
	s = start(t, d.url, options)
	other := s.dial("comments")
	p.await(`others.includes('too_many_connections') || opened > ` + fmt.Sprint(opened))
	if err := other.ws.Close(); err != nil {
		t.Error(err)
	}
	write("back")
	p.await(fmt.Sprintf(`titles.length >= %d`, len(want)))
	if got := evaluate[[]string](p, `titles`); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	others := evaluate[[]string](p, `others`)
	for _, o := range others {
		if !slices.Contains([]string{"loaded", "subscribed", "goodbye", "too_many_connections"}, o) {
			t.Errorf("it was told %q in %q", o, others)
		}
	}
	t.Logf("it was told %q", others)
	if evaluate[int](p, `source.readyState`) != 1 {
		t.Error("it is not open")
	}
	evaluate[chromedp.Void](p, `source.close()`)

	// What cannot be had is not tried again.
	s.awaitConnections(0)
	evaluate[chromedp.Void](p, fmt.Sprintf(follow, "/events?channel=nothing"))
	p.await(`source.readyState === 2`)
}

func testEventSourceElsewhere(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	// Its name is of this machine, but not one that nobody else can give.
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,"><p>a page of another origin</p>`)
	}))
	defer page.Close()
	_, port, _ := strings.Cut(page.Listener.Addr().String(), ":")
	origin := "http://app.localhost:" + port
	allowed := start(t, d.url, options{server: tidingshttp.Options{AllowedOrigins: []string{origin}}})
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	p.do(chromedp.Navigate(origin))
	evaluate[chromedp.Void](p, fmt.Sprintf(follow, "http://"+s.addr+"/events?channel=messages"))
	p.await(`source.readyState === 2`)
	evaluate[chromedp.Void](p, fmt.Sprintf(follow, "http://"+allowed.addr+"/events?channel=messages"))
	p.await(`others.includes('subscribed')`)
	d.message("live")
	p.await(`titles.length === 1`)
	for addr, want := range map[string]string{s.addr: "refused", allowed.addr: "1"} {
		// A header of its own has the browser ask before.
		evaluate[chromedp.Void](p, fmt.Sprintf(`fetch('http://%s/channels/messages', {headers: {'Cache-Control': 'no-cache'}})
			.then((r) => r.json()).then((page) => { window.got = String(page.rows.length) }, () => { window.got = 'refused' }), void 0`, addr))
		p.await(`window.got`)
		if got := evaluate[string](p, `got`); got != want {
			t.Errorf("a page of another origin gets %q, want %q", got, want)
		}
		evaluate[chromedp.Void](p, `window.got = ''`)
	}
	evaluate[chromedp.Void](p, `source.close()`)
}
