package http_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const titles = `[...document.querySelectorAll('#messages h3')].map((h) => h.textContent)`

// scrollTo scrolls to an end of the page until something holds.
func (p *tab) scrollTo(end, until string) {
	p.t.Helper()
	p.await(`(scrollTo(0, ` + end + `), ` + until + `)`)
}

const (
	top    = `0`
	bottom = `document.documentElement.scrollHeight`
)

// Whoever scrolls finds all messages, each once and in order, from either end, and what is written meanwhile moves nothing.
func testPageScrolls(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	// Many of them were written at the same moment.
	d.exec(`insert into messages (author_id, title, content, created_at) select 1, 'message ' || i, 'text', '2026-01-01Z'::timestamptz + (i / 60) * interval '1 minute'
		from generate_series(1, 400) as i`)
	s := start(t, d.url, options{})
	p := openPage(t, browser, s.addr)
	check := func(descending bool) {
		t.Helper()
		got := evaluate[[]string](p, titles)
		var last int
		if _, err := fmt.Sscanf(got[0], "message %d", &last); err != nil {
			t.Fatalf("the first is %q", got[0])
		}
		var want []string
		for range got {
			want = append(want, fmt.Sprintf("message %d", last))
			if descending {
				last--
			} else {
				last++
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the page shows %s", strings.Join(got, ", "))
		}
		if len(got) > 300 {
			t.Errorf("the page has %d messages", len(got))
		}
	}
	p.await(titles + `[0] === 'message 400'`)
	p.scrollTo(bottom, titles+`.at(-1) === 'message 1'`)
	check(true)

	// What is read stays where it is, and what is new is announced.
	p.await(`document.querySelector('[data-end="older"]')?.dataset.more === 'false'`)
	evaluate[chromedp.Void](p, `scrollTo(0, 4000)`)
	before := evaluate[string](p, `(() => {
		window.watched = [...document.querySelectorAll('#messages > article')].find((a) => a.getBoundingClientRect().top > 100);
		return String(Math.round(watched.getBoundingClientRect().top));
	})()`)
	d.message("new 1")
	d.message("new 2")
	p.await(`document.querySelector('[data-unseen]')?.textContent.includes('2 new messages')`)
	if after := evaluate[string](p, `String(Math.round(watched.getBoundingClientRect().top))`); after != before {
		t.Errorf("what was read went from %s to %s pixels", before, after)
	}
	p.click(`[data-unseen]`)
	p.await(titles + `[0] === 'new 2' && document.activeElement.textContent.includes('new 2') && !document.querySelector('[data-unseen]')`)
	d.exec(`delete from messages where title like 'new%'`)
	p.await(titles + `[0] === 'message 400'`)
	p.scrollTo(bottom, titles+`.at(-1) === 'message 1'`)
	p.scrollTo(top, titles+`[0] === 'message 400'`)
	check(true)

	evaluate[chromedp.Void](p, `(() => { const select = document.querySelector('[data-order]'); select.value = 'oldest'; select.dispatchEvent(new Event('change', { bubbles: true })); })()`)
	p.await(titles + `[0] === 'message 1'`)
	p.await(`document.querySelector('[data-end="newer"]')?.dataset.more === 'true'`)
	d.message("not there yet") // behind a hole
	p.scrollTo(bottom, titles+`.at(-1) === 'not there yet'`)
	d.message("at the end")
	p.await(titles + `.at(-1) === 'at the end'`)
	d.exec(`delete from messages where title not like 'message%'`)
	p.await(titles + `.at(-1) === 'message 400'`)
	check(false)

	// All comments are had as well.
	last := query[int64](d, `select max(id) from messages`)
	d.exec(`insert into comments (message_id, author_id, content) select $1, 1, 'comment ' || i from generate_series(1, 150) as i`, last)
	last2 := fmt.Sprint(last)
	p.await(`document.querySelector('#message-` + last2 + ` [data-earlier]')?.textContent === 'Show 147 earlier comments'`)
	p.do(chromedp.Reload())
	p.awaitState("live")
	p.scrollTo(bottom, `document.querySelector('#message-`+last2+` [data-earlier]')?.textContent === 'Show 147 earlier comments'`)
	evaluate[chromedp.Void](p, `document.querySelector('#message-`+last2+` [data-earlier]').click()`)
	p.await(`document.querySelector('#message-` + last2 + ` [data-earlier]:enabled')?.textContent === 'Show 47 earlier comments'`)
	evaluate[chromedp.Void](p, `document.querySelector('#message-`+last2+` [data-earlier]').click()`)
	p.await(`[...document.querySelectorAll('#message-` + last2 + ` .comments .content')].map((c) => c.textContent).join() === Array.from({length: 150}, (_, i) => 'comment ' + (i + 1)).join()`)
	p.expectNoErrors()
}
