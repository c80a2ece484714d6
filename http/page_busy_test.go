package http_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// What is shown: each message, and how many comments it has, those that are not shown included.
const counted = `[...document.querySelectorAll('#messages > article')].map((article) => [article.dataset.id, article.querySelector('h3').textContent,
	article.querySelectorAll('.comments > li').length + Number(/\d+/.exec(article.querySelector('[data-earlier]')?.textContent ?? '0')[0])].join(' '))`

// Whoever scrolls to and fro, so that pages are loaded at all moments, while others write, change, move and delete, in transactions that
// overlap, has in the end what there is.
func testPageBusy(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	d.exec(`insert into messages (author_id, title, content, created_at) select 1, 'message ' || i, '', now() - (1000 - i) * interval '1 second' from generate_series(1, 200) as i`)
	d.exec(`insert into comments (message_id, author_id, content) select id, 1, 'a comment' from messages, generate_series(1, 2)`)
	s := start(t, d.url, options{})
	p := openPage(t, browser, s.addr)

	var writers sync.WaitGroup
	done := make(chan struct{})
	for n := range 3 {
		random := rand.New(rand.NewPCG(uint64(n), 1))
		writers.Go(func() {
			for i := range 120 {
				at := random.IntN(200)
				some := fmt.Sprintf(`(select id from messages order by created_at desc, id desc offset %d limit 1)`, at)
				tx, err := d.pool.Begin(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for range 1 + random.IntN(3) {
					statement := []string{
						fmt.Sprintf(`insert into messages (author_id, title, content, created_at) values (1, 'new %d of %d', '', now() - %d * interval '1 second')`, i, n, at*at/40),
						`update messages set title = title || '.' where id = ` + some,
						`insert into comments (message_id, author_id, content) select id, 1, 'new' from messages where id = ` + some,
						`update comments set content = content || '.' where message_id = ` + some,
						`update comments set message_id = ` + some + ` where id = (select min(id) from comments where message_id = ` + some + `)`,
						`delete from comments where id = (select max(id) from comments where message_id = ` + some + `)`,
						`delete from messages where id = ` + some,
						`insert into messages (author_id, title, content) values (1, 'the newest', '')`,
					}[random.IntN(8)]
					if _, err := tx.Exec(t.Context(), statement); err != nil {
						break // the message has just been deleted, or two wait for each other: all of it is undone
					}
				}
				_ = tx.Commit(t.Context()) // which undoes what has failed
			}
		})
	}
	go func() {
		writers.Wait()
		close(done)
	}()
	for i, writing := 0, true; writing; i++ {
		evaluate[chromedp.Void](p, `scrollTo(0, `+[]string{bottom, top, `2000`, bottom}[i%4]+`)`)
		select {
		case <-done:
			writing = false
		default:
		}
	}

	type part struct{ shown, there []string }
	var last part
	var newest string
	holds := func() bool {
		shown, ok := tryEvaluate[[]string](p, counted)
		if !ok || len(shown) == 0 {
			return false
		}
		newest, _, _ = strings.Cut(shown[0], " ")
		there := query[[]string](d, `select coalesce(array_agg(concat(id, ' ', title, ' ', n)), '{}') from (
			select m.id, m.title, (select count(*) from comments c where c.message_id = m.id) as n from messages m
			 where (m.created_at, m.id) <= (select created_at, id from messages where id = $1::bigint)
			 order by m.created_at desc, m.id desc limit $2) as m`, newest, len(shown))
		last = part{shown, there}
		return slices.Equal(shown, there)
	}
	defer func() {
		if t.Failed() {
			for i := range min(len(last.shown), len(last.there)) {
				if last.shown[i] != last.there[i] {
					t.Logf("shown is %q, and there is %q", last.shown[i], last.there[i])
				}
			}
		}
	}()
	eventually(t, "what is shown is what there is", holds)
	p.scrollTo(top, `document.querySelector('[data-end="newer"]').dataset.more === 'false'`)
	eventually(t, "the newest is shown", func() bool {
		return holds() && query[int](d, `select count(*)::int from messages where (created_at, id) > (select created_at, id from messages where id = $1::bigint)`, newest) == 0
	})
	p.expectNoErrors()
}
