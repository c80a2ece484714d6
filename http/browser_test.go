package http_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/triggers"
)

// TestBrowser looks at the page as people do, in a real browser.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := startBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"the page follows":            testPageFollows,
		"the page survives a restart": testPageSurvives,
		"the page shows text as text": testPageShowsText,
		"the page elsewhere":          testPageElsewhere,
		"the page looks well":         testPageLooks,
		"a page of one's own":         testOwnPage,
		"a page of somebody else's":   testForeignPage,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

// startBrowser starts a browser.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell", "headless_shell",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium on this machine: make setup-test installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) })
	return ctx
}

// tab is one page in the browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []chromedp.ConsoleMessage
}

func openTab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
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

// What the page shows, as text: one line a message, with its comments behind it.
const shown = `[...document.querySelectorAll('#messages > li')].map(li =>
	[li.querySelector('h2').textContent, li.querySelector('.by .author').textContent, li.querySelector('.content').textContent,
		...[...li.querySelectorAll('.comments > li')].map(c => c.textContent.trim())].join(' | '))`

func (p *tab) expectShown(want ...string) {
	p.t.Helper()
	eventually(p.t, "the page shows\n"+strings.Join(want, "\n"), func() bool {
		got, there := tryEvaluate[[]string](p, shown)
		return there && slices.Equal(got, want)
	})
}

func testPageFollows(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	first := d.message("first")
	d.comment(first, "its comment")
	d.message("second")
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.await(`document.getElementById('state').textContent === 'live'`)
	p.expectShown("second | Ada | text", "first | Ada | text | Ada its comment")
	evaluate[chromedp.Void](p, `window.sameDocument = true`)

	// What psql writes appears by itself; the name of somebody new, too.
	d.exec(`insert into users (username, display_name) values ('boris', 'Борис')`)
	third := query[int64](d, `insert into messages (author_id, title, content) values (2, 'third', 'of another') returning id`)
	p.expectShown("third | Борис | of another", "second | Ada | text", "first | Ada | text | Ada its comment")
	d.comment(third, "a comment")
	comment := d.comment(first, "another comment")
	p.expectShown("third | Борис | of another | Ada a comment", "second | Ada | text", "first | Ada | text | Ada its comment | Ada another comment")

	d.exec(`update messages set title = 'changed' where title = 'second'`)
	d.exec(`update comments set content = 'changed' where id = $1`, comment)
	p.expectShown("third | Борис | of another | Ada a comment", "changed | Ada | text", "first | Ada | text | Ada its comment | Ada changed")
	if n := evaluate[int](p, `document.querySelectorAll('.edited:not([hidden])').length`); n != 1 {
		t.Errorf("%d messages are shown as edited, want 1", n)
	}
	d.exec(`update comments set message_id = $1 where id = $2`, third, comment)
	p.expectShown("third | Борис | of another | Ada a comment | Ada changed", "changed | Ada | text", "first | Ada | text | Ada its comment")
	d.exec(`delete from comments where content = 'its comment'`)
	d.exec(`delete from messages where title = 'third'`) // and its comments
	p.expectShown("changed | Ada | text", "first | Ada | text")

	d.exec(`insert into messages (author_id, title, content) select 1, 'many ' || i, '' from generate_series(1, 300) as i`)
	p.await(`document.querySelector('#messages h2').textContent === 'many 300'`)
	if n := evaluate[int](p, `document.querySelectorAll('#messages > li').length`); n > 200 {
		t.Errorf("%d messages are shown", n)
	}
	d.exec(`truncate messages, comments`)
	p.expectShown()
	d.message("the end")
	p.expectShown("the end | Ada | text")

	if !evaluate[bool](p, `window.sameDocument === true`) {
		t.Error("the page was loaded again")
	}
	p.expectNoErrors()
}

func testPageSurvives(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	d.message("before")
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.await(`document.getElementById('state').dataset.state === 'live'`)
	evaluate[chromedp.Void](p, `window.sameDocument = true`)
	want := []string{"before | Ada | text"}
	for i := range 2 {
		s.end()
		p.await(`document.getElementById('state').textContent === 'reconnecting'`)
		for _, title := range []string{fmt.Sprintf("away %d", i), fmt.Sprintf("away %d, too", i)} {
			d.comment(d.message(title), "there as well")
			want = append([]string{title + " | Ada | text | Ada there as well"}, want...)
		}
		s = start(t, d.url, options{listen: s.addr})
		p.await(`document.getElementById('state').textContent === 'live'`)
		p.expectShown(want...)
	}
	d.message("after")
	p.expectShown(append([]string{"after | Ada | text"}, want...)...)
	if !evaluate[bool](p, `window.sameDocument === true`) {
		t.Error("the page was loaded again")
	}
	for _, e := range p.errors() {
		// The browser itself tells of every connection that fails.
		if !strings.Contains(e, "WebSocket connection to") {
			t.Errorf("the page complains: %s", e)
		}
	}

	// Where what was missed is no longer kept, it loads afresh.
	s.end()
	p.await(`document.getElementById('state').textContent === 'reconnecting'`)
	d.message("forgotten")
	eventually(t, "no transaction is open that began before", func() bool {
		return query[bool](d, `select pg_snapshot_xmin(pg_current_snapshot()) > max(xid) from tidings.log`)
	})
	for range 8 {
		d.exec(`select tidings.rotate(true)`)
	}
	start(t, d.url, options{listen: s.addr})
	p.await(`window.sameDocument === undefined && document.getElementById('state')?.textContent === 'live'`)
	p.expectShown(append([]string{"forgotten | Ada | text", "after | Ada | text"}, want...)...)
}

func testPageShowsText(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := start(t, d.url, options{})
	hostile := []string{
		`<img src=x onerror="window.hurt=1">`, `</script><script>window.hurt=1</script>`, `<!--<script>window.hurt=1`, `{{.}} ${window.hurt=1} &lt;`,
	}
	write := func(suffix string) {
		for _, text := range hostile {
			id := query[int64](d, `insert into messages (author_id, title, content) values (1, $1, $1) returning id`, text+suffix)
			d.comment(id, text)
		}
	}
	d.exec(`update users set display_name = $1`, hostile[0])
	write(" before")
	p := openTab(t, browser)
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.await(`document.getElementById('state').textContent === 'live'`)
	write(" live")
	var want []string
	for _, suffix := range []string{" before", " live"} {
		for _, text := range hostile {
			want = append([]string{strings.Join([]string{text + suffix, hostile[0], text + suffix, hostile[0] + " " + text}, " | ")}, want...)
		}
	}
	p.expectShown(want...)
	if evaluate[bool](p, `'hurt' in window || document.querySelector('img') !== null`) {
		t.Error("a message was taken for HTML")
	}
	p.expectNoErrors()
}

// Where the application's tables are not, the page shows the events of what is watched.
func testPageElsewhere(t *testing.T, browser context.Context) {
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
	s := start(t, address, options{})
	p := openTab(t, browser)
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.await(`document.body.textContent.includes('Nothing public is watched yet')`)
	d.exec(`create table orders (id int primary key, note text)`)
	d.exec(`select tidings.watch('orders', read => 'public')`)
	eventually(t, "orders can be followed", func() bool { return len(s.hub.PublicTopics()) == 1 })
	p.do(chromedp.Reload())
	p.await(`document.getElementById('state').textContent === 'live' && document.body.textContent.includes('Following orders')`)
	d.exec(`insert into orders values (7, '<b>one</b>')`)
	p.await(`document.querySelector('#messages h2')?.textContent === 'order_added · orders:7' &&
		JSON.parse(document.querySelector('#messages pre').textContent).note === '<b>one</b>'`)
	p.expectNoErrors()
}

// Light and dark, wide and narrow: nothing sticks out, and the text can be read. The pictures are for looking at.
func testPageLooks(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Борис'), ('chloe', 'Chloé'), ('long', $1)`, strings.Repeat("Longname", 20))
	for _, m := range []struct {
		author         int
		title, content string
	}{
		{1, "Welcome", "This is the information channel. Whoever writes a row, everybody sees it at once."},
		{4, strings.Repeat("Averylongwordthatdoesnotend", 10), strings.Repeat("Anotherlongword", 40)},
		{2, "Как это работает", "Триггер пишет журнал, сервер читает его\nи рассказывает всем подписчикам.\n\n    с отступом"},
		{3, "你好 \U0001F600", strings.Repeat("Some words that fill a few lines of a paragraph. ", 12)},
	} {
		id := query[int64](d, `insert into messages (author_id, title, content) values ($1, $2, $3) returning id`, m.author, m.title, m.content)
		d.comment(id, "Nice to be here!")
		d.exec(`insert into comments (message_id, author_id, content) values ($1, 2, 'It works from any tool that speaks SQL.')`, id)
	}
	d.exec(`update messages set title = title || '!' where id = 3`)
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	dir := t.ArtifactDir()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			ctx, cancel := context.WithTimeout(p.ctx, patience)
			defer cancel()
			p.do(chromedp.EmulateViewport(width, 800))
			if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
			}); err != nil {
				t.Fatal(err)
			}
			p.do(chromedp.Navigate("http://" + s.addr + "/"))
			p.await(`document.getElementById('state').textContent === 'live' && document.querySelectorAll('#messages > li').length === 4`)
			if wide := evaluate[int](p, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("in %s, at %d pixels, the page is %d wide", scheme, width, wide)
			}
			if contrast := evaluate[float64](p, worstContrast); contrast < 4.5 {
				t.Errorf("in %s, at %d pixels, some text has a contrast of %.1f, want 4.5", scheme, width, contrast)
			}
			picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", scheme, width)), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.expectNoErrors()
}

// worstContrast is the lowest contrast, by WCAG's formula, of a text with what is behind it.
const worstContrast = `(() => {
	const rgb = (color) => color.match(/[\d.]+/g).map(Number);
	const light = (color) => {
		const [r, g, b] = rgb(color).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (element) => {
		for (; element; element = element.parentElement) {
			const color = getComputedStyle(element).backgroundColor;
			if ((rgb(color)[3] ?? 1) > 0) return color;
		}
		return 'rgb(255, 255, 255)';
	};
	let worst = 21;
	for (const element of document.body.querySelectorAll('*')) {
		if (![...element.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim())) continue;
		const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
		worst = Math.min(worst, (a + 0.05) / (b + 0.05));
	}
	return worst;
})()`

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
