package http_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"tidings/http/browsertest"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestBrowser looks at the page as people do, in a real browser.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"the page follows":                testPageFollows,
		"the page survives a restart":     testPageSurvives,
		"the page shows text as text":     testPageShowsText,
		"the page is read to its ends":    testPageScrolls,
		"the page in a busy channel":      testPageBusy,
		"the page elsewhere":              testPageElsewhere,
		"the page looks well":             testPageLooks,
		"the page can be used by anybody": testPageAccessible,
		"people write to each other":      testPageWriting,
		"people hear of each other":       testPageTogether,
		"what is not sent is not lost":    testPageUnsent,
		"a window that was cut off":       testPageCutOff,
		"a session that runs out":         testPageSession,
		"a channel that is not for all":   testPageNotPublic,
		"a page of one's own":             testOwnPage,
		"a page of somebody else's":       testForeignPage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, browser)
		})
	}
}

// tab is one page in the browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []chromedp.ConsoleMessage
}

// openTab opens a tab of somebody who has no other.
func openTab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	return openTabBy(t, browser, chromedp.WithNewBrowserContext())
}

func openTabBy(t *testing.T, browser context.Context, how ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, how...)
	p := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return // the tab is closed
			}
			p.mu.Lock()
			p.console = append(p.console, m)
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		listening.Wait()
	})
	return p
}

// screen makes the page's screen so many pixels wide, in a scheme of colours, and of somebody who wants nothing to move.
func (p *tab) screen(width int64, scheme string) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, 800))
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	}); err != nil {
		p.t.Fatal(err)
	}
}

// picture keeps a picture of the page in a file, to be looked at (go test -artifacts).
func (p *tab) picture(name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.t.ArtifactDir(), name), picture, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// do runs actions in the page.
func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// evaluate returns the value of an expression in the page.
func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	value, there := tryEvaluate[T](p, expression)
	if !there {
		p.t.Fatalf("%s: the page was left meanwhile", expression)
	}
	return value
}

// tryEvaluate does so, and returns false where the page was left meanwhile, as it is when it loads itself afresh.
func tryEvaluate[T any](p *tab, expression string) (value T, there bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	var gone *cdproto.Error
	if err != nil && (!errors.As(err, &gone) || gone.Code != serverError) {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value, err == nil
}

// serverError is the code with which the browser answers, among others, what concerns a page that was left.
const serverError = -32000

// await waits until an expression is true in the page.
func (p *tab) await(expression string) {
	p.t.Helper()
	eventually(p.t, "in the page "+expression, func() bool {
		holds, there := tryEvaluate[bool](p, "!!("+expression+")")
		return there && holds
	})
}

// errors are what the page has complained about until now.
func (p *tab) errors() []string {
	p.t.Helper()
	p.mu.Lock()
	mark := fmt.Sprintf("mark %d", len(p.console))
	p.mu.Unlock()
	evaluate[chromedp.Void](p, "console.log("+strconv.Quote(mark)+")")
	var found []string
	eventually(p.t, "the console's messages are here", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		found = found[:0]
		for _, m := range p.console {
			if m.Text == mark {
				return true
			}
			if m.Type != chromedp.ConsoleLog && m.Type != chromedp.ConsoleDebug && m.Type != chromedp.ConsoleInfo {
				found = append(found, m.String())
			}
		}
		return false
	})
	return found
}

func (p *tab) expectNoErrors() {
	p.t.Helper()
	for _, e := range p.errors() {
		p.t.Errorf("the page complains: %s", e)
	}
}

// What somebody types into a page of his own, on this machine and on another port.
func testOwnPage(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	first := d.message("first")
	s := start(t, d.url, options{})
	_, port, _ := strings.Cut(s.addr, ":")
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><ul id="list"></ul><script>
			window.said = [];
			const ws = new WebSocket('ws://localhost:%s/ws?channel=messages');
			ws.onmessage = (event) => {
				const message = JSON.parse(event.data);
				window.said.push(message.type + ' ' + message.channel);
				if (message.type === 'message_added') {
					const item = document.createElement('li');
					item.textContent = message.data.title + ': ' + message.data.content;
					document.getElementById('list').append(item);
				}
				if (message.type === 'comment_added') {
					const item = document.createElement('li');
					item.textContent = 'comment: ' + message.data.content;
					document.getElementById('list').append(item);
				}
			};
			ws.onclose = (event) => { window.goodbye = event.code + ' ' + event.reason; };
		</script>`, port)
	}))
	defer own.Close()
	p := openTab(t, browser)
	p.do(chromedp.Navigate(own.URL))
	p.await(`said.join() === 'subscribed messages'`)
	d.message("hello")
	p.await(`document.getElementById('list').innerText === 'hello: text'`)
	evaluate[chromedp.Void](p, `ws.send(JSON.stringify({"type":"subscribe","channel":"comments:1"}))`)
	p.await(`said.includes('subscribed comments:1')`)
	second := d.message("second")
	d.comment(second, "not for us")
	d.comment(first, "for us")
	p.await(`document.getElementById('list').innerText === 'hello: text\nsecond: text\ncomment: for us'`)
	s.tell()
	p.await(`window.goodbye?.startsWith('1001 shutdown')`)
	p.expectNoErrors()
}

// A page of another origin cannot connect.
func testForeignPage(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	p.do(chromedp.Navigate("data:text/html,<title>foreign</title>")) // its origin is null
	evaluate[chromedp.Void](p, `window.happened = [];
		const ws = new WebSocket('ws://`+s.addr+`/ws?channel=messages');
		for (const event of ['open', 'message', 'error', 'close']) ws.addEventListener(event, () => happened.push(event))`)
	p.await(`happened.join() === 'error,close'`)
	s.awaitConnections(0)
}
