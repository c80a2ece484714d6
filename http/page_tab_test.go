package http_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// openPage opens the page, for somebody who has no other tab, and returns when it is live.
func openPage(t *testing.T, browser context.Context, addr string) *tab {
	t.Helper()
	p := openTab(t, browser)
	p.open(addr)
	return p
}

// another opens the page once more, for the same person.
func (p *tab) another(addr string) *tab {
	p.t.Helper()
	other := openTabBy(p.t, p.ctx)
	other.open(addr)
	return other
}

func (p *tab) open(addr string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	// Several windows have the focus, as if each had a screen of its own.
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		p.t.Fatal(err)
	}
	p.do(chromedp.Navigate("http://" + addr + "/"))
	p.awaitState("live")
}

// awaitState waits until the page says that its connection is so.
func (p *tab) awaitState(state string) {
	p.t.Helper()
	p.await(`document.getElementById('state')?.dataset.state === '` + state + `'`)
}

// click clicks on what a selector finds first, as soon as it can be hit. What comes in live moves things, so that is found out and done in
// one moment.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.await(`((e) => {
		if (!e?.checkVisibility() || e.disabled) return false;
		e.scrollIntoView({ block: 'nearest' });
		const { left, top, width, height } = e.getBoundingClientRect();
		if (!e.contains(document.elementFromPoint(left + width / 2, top + height / 2))) {
			e.scrollIntoView({ block: 'center' });
			return false;
		}
		e.focus();
		e.click();
		return true;
	})(document.querySelector(` + strconv.Quote(selector) + `))`)
}

// types types into what a selector finds first.
func (p *tab) types(selector, text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

const password = "correct horse battery"

// signUp makes somebody a user, who is signed in when it returns.
func (p *tab) signUp(username, displayName string) {
	p.t.Helper()
	p.click(`[data-sign-up]`)
	p.types(`dialog [name="username"]`, username)
	p.types(`dialog [name="displayName"]`, displayName)
	p.types(`dialog [name="password"]`, password)
	p.click(`dialog [type="submit"]`)
	p.awaitSignedIn()
}

func (p *tab) awaitSignedIn() {
	p.t.Helper()
	p.await(`document.querySelector('[data-compose]') && !document.querySelector('dialog[open]')`)
	p.awaitState("live")
}

// write writes a message as people do.
func (p *tab) write(title, content string) {
	p.t.Helper()
	p.types(`[data-compose]`, title)
	p.types(`[data-composer="new"] textarea`, content)
	p.click(`[data-composer="new"] [type="submit"]`)
}

// comment comments on a message, which is the one whose title is so.
func (p *tab) comment(title, content string) {
	p.t.Helper()
	id := p.messageID(title)
	if !evaluate[bool](p, `!!document.querySelector('#message-`+id+` [data-composer="comment"]')`) {
		p.click(`#message-` + id + ` [data-comment]`)
	}
	p.types(`#message-`+id+` [data-composer="comment"] textarea`, content)
	p.click(`#message-` + id + ` [data-composer="comment"] [type="submit"]`)
}

// messageID is the id of the message that has the title.
func (p *tab) messageID(title string) string {
	p.t.Helper()
	const find = `[...document.querySelectorAll('#messages > article')].find((a) => a.querySelector('h3').textContent === `
	p.await(find + strconv.Quote(title) + `)`)
	return evaluate[string](p, find+strconv.Quote(title)+`).dataset.id`)
}

// What the page shows, as text: one line a message, with its comments behind it.
const shown = `[...document.querySelectorAll('#messages > article')].map((article) =>
	[article.querySelector('h3').textContent, article.querySelector('.by .author').textContent, article.querySelector('.body > .content')?.textContent ?? '',
		...[...article.querySelectorAll('.comments > li')].map((c) => c.querySelector('.author').textContent + ' ' + c.querySelector('.content').textContent)].join(' | '))`

func (p *tab) expectShown(want ...string) {
	p.t.Helper()
	eventually(p.t, "the page shows\n"+strings.Join(want, "\n"), func() bool {
		got, there := tryEvaluate[[]string](p, shown)
		return there && slices.Equal(got, want)
	})
}

// expectSame waits until others show the same.
func (p *tab) expectSame(others ...*tab) {
	p.t.Helper()
	want := evaluate[[]string](p, shown)
	for _, other := range others {
		other.expectShown(want...)
	}
}

// expectFewErrors fails if the page has complained of anything but a lost connection, of which the browser itself tells.
func (p *tab) expectFewErrors(also ...string) {
	p.t.Helper()
	known := append([]string{"WebSocket connection to", "net::ERR_"}, also...)
	for _, e := range p.errors() {
		if !slices.ContainsFunc(known, func(part string) bool { return strings.Contains(e, part) }) {
			p.t.Errorf("the page complains: %s", e)
		}
	}
}

// channelWithAccounts starts a service with accounts, and presence.
func channelWithAccounts(t *testing.T, o tidingshttp.AccountOptions) (*database, *service) {
	t.Helper()
	d, p := crowded(t)
	d.exec(`truncate messages, comments, notifications`)
	accounts, _ := newAccounts(o)
	return d, start(t, d.url, options{accounts: accounts, presence: p, graph: &graph.Options{}})
}
