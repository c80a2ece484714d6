package http_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func testPageFollows(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	first := d.message("first")
	d.comment(first, "its comment")
	d.message("second")
	s := start(t, d.url, options{})
	p := openPage(t, browser, s.addr)
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
	if n := evaluate[int](p, `document.querySelectorAll('#messages .message > .body > header .edited').length`); n != 1 {
		t.Errorf("%d messages are shown as edited, want 1", n)
	}
	d.exec(`update comments set message_id = $1 where id = $2`, third, comment)
	p.expectShown("third | Борис | of another | Ada a comment | Ada changed", "changed | Ada | text", "first | Ada | text | Ada its comment")
	d.exec(`delete from comments where content = 'its comment'`)
	d.exec(`delete from messages where title = 'third'`) // and its comments
	p.expectShown("changed | Ada | text", "first | Ada | text")

	d.exec(`insert into messages (author_id, title, content) select 1, 'many ' || i, '' from generate_series(1, 300) as i`)
	p.await(`document.querySelector('#messages h3')?.textContent === 'many 300'`)
	if n := evaluate[int](p, `document.querySelectorAll('#messages > article').length`); n > 300 {
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
	p := openPage(t, browser, s.addr)
	evaluate[chromedp.Void](p, `window.sameDocument = true`)
	want := []string{"before | Ada | text"}
	for i := range 2 {
		s.end()
		p.awaitState("offline")
		for _, title := range []string{fmt.Sprintf("away %d", i), fmt.Sprintf("away %d, too", i)} {
			d.comment(d.message(title), "there as well")
			want = append([]string{title + " | Ada | text | Ada there as well"}, want...)
		}
		s = start(t, d.url, options{listen: s.addr})
		p.awaitState("live")
		p.expectShown(want...)
	}
	d.message("after")
	p.expectShown(append([]string{"after | Ada | text"}, want...)...)

	// Where what was missed is no longer kept, it loads afresh.
	s.end()
	p.awaitState("offline")
	d.message("forgotten")
	eventually(t, "no transaction is open that began before", func() bool {
		return query[bool](d, `select pg_snapshot_xmin(pg_current_snapshot()) > all (array_agg(xid)) from tidings.log`)
	})
	for range 8 {
		d.exec(`select tidings.rotate(true)`)
	}
	start(t, d.url, options{listen: s.addr})
	p.expectShown(append([]string{"forgotten | Ada | text", "after | Ada | text"}, want...)...)
	p.awaitState("live")
	d.message("and on")
	p.expectShown(append([]string{"and on | Ada | text", "forgotten | Ada | text", "after | Ada | text"}, want...)...)
	if !evaluate[bool](p, `window.sameDocument === true`) {
		t.Error("the page was loaded again")
	}
	p.expectFewErrors()
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
	p := openPage(t, browser, s.addr)
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
	d := anotherDatabase(t)
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.await(`document.body.textContent.includes('Nothing public is watched yet')`)
	d.exec(`create table orders (id int primary key, note text)`)
	d.exec(`select tidings.watch('orders', read => 'public')`)
	eventually(t, "orders can be followed", func() bool { return len(s.hub.PublicTopics()) == 1 })
	p.do(chromedp.Reload())
	p.awaitState("live")
	p.await(`document.body.textContent.includes('Following orders')`)
	d.exec(`insert into orders values (7, '<b>one</b>')`)
	p.await(`document.querySelector('#events h3')?.textContent === 'order_added · orders:7' &&
		JSON.parse(document.querySelector('#events pre').textContent).note === '<b>one</b>'`)
	p.click(`[data-pause]`)
	d.exec(`insert into orders values (8, 'two')`)
	p.await(`document.querySelector('.bar')?.textContent.includes('1 event waits') && document.querySelectorAll('[data-event]').length === 1`)
	p.click(`[data-pause]`)
	p.await(`document.querySelectorAll('[data-event]').length === 2`)
	if wide := evaluate[int](p, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		t.Errorf("the page sticks out by %d pixels", wide)
	}
	p.expectNoErrors()
}
