package http_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// way is a way to a service that can be cut. Chromium's own emulation of being offline leaves WebSockets alone.
type way struct {
	listener net.Listener
	target   string
	group    sync.WaitGroup

	mu    sync.Mutex
	cut   bool // nothing goes through
	deaf  bool // nothing comes back
	conns map[net.Conn]bool
}

func newWay(t *testing.T, target string) *way {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: listener, target: target, conns: make(map[net.Conn]bool)}
	w.group.Go(w.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		w.set(true, false)
		w.group.Wait()
	})
	return w
}

func (w *way) addr() string { return w.listener.Addr().String() }

// set cuts the way, or has nothing come back, or opens it again.
func (w *way) set(cut, deaf bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.deaf = cut, deaf
	if cut {
		for c := range w.conns {
			_ = c.Close()
		}
	}
}

func (w *way) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		w.mu.Lock()
		if err != nil || w.cut {
			w.mu.Unlock()
			_ = near.Close()
			if err == nil {
				_ = far.Close()
			}
			continue
		}
		w.conns[near], w.conns[far] = true, true
		w.mu.Unlock()
		w.group.Go(func() { w.carry(far, near, false) })
		w.group.Go(func() { w.carry(near, far, true) })
	}
}

func (w *way) carry(to, from net.Conn, back bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		lost := back && w.deaf
		w.mu.Unlock()
		if n > 0 && !lost {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				err = writeErr
			}
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			w.mu.Lock()
			delete(w.conns, to)
			delete(w.conns, from)
			w.mu.Unlock()
			return
		}
	}
}

// A window that is cut off, and misses fifty messages and changes, shows in the end exactly what the others show.
func testPageCutOff(t *testing.T, browser context.Context) {
	d, s := channelWithAccounts(t, tidingshttp.AccountOptions{})
	for i := range 5 {
		d.comment(d.message(fmt.Sprintf("before %d", i)), "a comment")
	}
	dora, other := openPage(t, browser, s.addr), openPage(t, browser, s.addr)
	dora.signUp("dora", "Dora")
	w := newWay(t, s.addr)
	third := openPage(t, browser, w.addr())
	evaluate[chromedp.Void](third, `window.sameDocument = true`)

	for round := range 2 {
		w.set(true, false)
		third.awaitState("offline")
		for i := range 50 {
			id := d.message(fmt.Sprintf("message %d of %d", i, round))
			switch i % 5 {
			case 0:
				d.comment(id, "said while away")
			case 1:
				d.exec(`update messages set title = title || ', changed' where id = $1`, id-3)
			case 2:
				d.exec(`delete from messages where id = $1`, id-1)
			case 3:
				d.exec(`update comments set content = 'changed' where id = (select max(id) from comments)`)
			case 4:
				d.exec(`delete from comments where id = (select min(id) from comments)`)
			}
			if i == 25 && round == 1 { // in the middle, the service is restarted
				s.end()
				d.message("written while there was no service")
				again, _ := newAccounts(tidingshttp.AccountOptions{})
				s = start(t, d.url, options{listen: s.addr, accounts: again, graph: &graph.Options{}})
			}
		}
		dora.write(fmt.Sprintf("by Dora %d", round), "on this page")
		w.set(false, false)
		third.awaitState("live")
		d.message(fmt.Sprintf("the last of %d", round))
		for _, p := range []*tab{dora, other, third} {
			p.await(`document.querySelector('#messages h3')?.textContent === 'the last of ` + fmt.Sprint(round) + `'`)
		}
		dora.expectSame(other, third)
		want := query[[]string](d, `select array_agg(title order by created_at desc, id desc) from messages`)
		got := evaluate[[]string](third, `[...document.querySelectorAll('#messages h3')].map((h) => h.textContent)`)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the window that was cut off shows %q, and there are %q", got, want)
		}
	}
	if !evaluate[bool](third, `window.sameDocument === true`) {
		t.Error("the page was loaded again")
	}
	for _, p := range []*tab{dora, other, third} {
		p.expectFewErrors()
	}
}

// What cannot be sent waits, is sent once, and if it cannot be done at all, that is said; what was begun is kept.
func testPageUnsent(t *testing.T, browser context.Context) {
	d, s := channelWithAccounts(t, tidingshttp.AccountOptions{})
	id := d.message("there")
	w := newWay(t, s.addr)
	p := openPage(t, browser, w.addr())
	p.signUp("dora", "Dora")
	p.expectShown("there | Ada | text")

	// A draft outlives the page.
	p.types(`[data-compose]`, "Begun")
	p.types(`[data-composer="new"] textarea`, "and not ended")
	p.await(`Object.keys(localStorage).some((key) => key.startsWith('tidings.draft.') && localStorage[key].includes('and not ended'))`)
	p.do(chromedp.Reload())
	p.awaitState("live")
	p.await(`document.querySelector('[data-compose]').value === 'Begun' && document.querySelector('[data-composer="new"] textarea').value === 'and not ended'`)

	// Without a connection it waits, and says so.
	w.set(true, false)
	p.awaitState("offline")
	p.click(`[data-composer="new"] [type="submit"]`)
	p.await(`document.querySelector('.outbox [data-pending="waiting"]')?.textContent.includes('Begun')`)
	p.await(`document.querySelector('[data-compose]').value === '' && !Object.keys(localStorage).some((key) => key.startsWith('tidings.draft.'))`)
	p.comment("there", "on what is not there any more")
	p.await(`document.querySelector('.comment[data-pending="waiting"]')`)
	d.exec(`delete from messages where id = $1`, id)
	w.set(false, false)
	p.expectShown("Begun | Dora | and not ended")
	p.await(`document.querySelectorAll('.outbox [data-pending]').length === 1`)
	p.await(`document.querySelector('.outbox [data-pending="failed"]')?.textContent.includes('Not sent: The message is not there any more.')`)
	p.click(`.outbox [data-discard]`)
	p.await(`!document.querySelector('[data-pending]')`)

	// It is done, and the answer is lost: it is sent again, and is there once.
	w.set(false, true)
	p.types(`[data-compose]`, "Once"+kb.Enter)
	eventually(t, "the message is written", func() bool {
		return query[bool](d, `select exists (select from messages where title = 'Once')`)
	})
	w.set(true, false)
	p.await(`document.querySelector('.outbox [data-pending="waiting"]')`)
	w.set(false, false)
	p.expectShown("Once | Dora | ", "Begun | Dora | and not ended")
	p.await(`!document.querySelector('[data-pending]')`)
	p.expectShown("Once | Dora | ", "Begun | Dora | and not ended")
	if n := query[int](d, `select count(*)::int from messages where title = 'Once'`); n != 1 {
		t.Errorf("it was written %d times", n)
	}
	p.expectFewErrors()
}

// Tokens that run out are renewed, and a session that is ended elsewhere leaves the page reading.
func testPageSession(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	accounts.Signer.TTL = 6 * time.Second
	s := start(t, d.url, options{accounts: accounts, graph: &graph.Options{}})
	p := openPage(t, browser, s.addr)
	p.signUp("dora", "Dora")
	second := p.another(s.addr)
	d.message("first")
	eventually(t, "the session was renewed", func() bool {
		return query[int](d, `select count(*)::int from refresh_tokens`) >= 3
	})
	d.message("second")
	p.write("third", "")
	for _, p := range []*tab{p, second} {
		p.expectShown("third | Dora | ", "second | Ada | text", "first | Ada | text")
		if !evaluate[bool](p, `!!document.querySelector('[data-compose]')`) {
			t.Error("who has signed in is signed out")
		}
		p.expectNoErrors()
	}

	d.exec(`select tidings.revoke('2')`)
	d.exec(`update sessions set expires_at = now() - interval '1 minute'`)
	for _, p := range []*tab{p, second} {
		p.await(`document.querySelector('[data-note="ended"]')?.textContent.includes('You are signed out') && !document.querySelector('[data-compose]')`)
		p.awaitState("live")
	}
	d.message("fourth")
	p.expectShown("fourth | Ada | text", "third | Dora | ", "second | Ada | text", "first | Ada | text")
}
