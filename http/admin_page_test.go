package http_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"tidings/db/dbtest"
	tidingshttp "tidings/http"
	"tidings/http/browsertest"
	"tidings/http/graph"
)

// TestAdminPage looks at the operator's page as operators do, in a real browser.
func TestAdminPage(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"who is refused":                testAdminRefused,
		"numbers and tables":            testAdminNumbers,
		"follow, broadcast, disconnect": testAdminActs,
		"a broken database":             testAdminOutage,
		"what is odd":                   testAdminOdd,
		"looks":                         testAdminLooks,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

// adminPassword is everybody's.
const adminPassword = "correct horse battery"

// startForAdmin starts an instance with accounts, of which root's is an administrator's and molly's is not.
func startForAdmin(t *testing.T, d *database) *service {
	t.Helper()
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	s := start(t, d.url, options{accounts: accounts, graph: &graph.Options{AdminWatch: true}, report: 200 * time.Millisecond})
	for _, name := range []string{"root", "molly"} {
		s.signs("sign-up", fmt.Sprintf(`{"username":%q,"password":%q}`, name, adminPassword), nil)
	}
	d.exec(`update users set role = 'admin' where username = 'root'`)
	return s
}

// enter opens the page and signs in.
func (p *tab) enter(s *service, username string) {
	p.t.Helper()
	p.do(chromedp.Navigate("http://" + s.addr + "/admin"))
	p.await(`document.querySelector('[name=username]')`)
	p.fill("[name=username]", username)
	p.fill("[name=password]", adminPassword)
	p.click(`.gate button[type=submit]`)
}

// fill writes into a field, as typing does.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	evaluate[chromedp.Void](p, fmt.Sprintf(`{ const field = document.querySelector(%q);
		Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, %s);
		field.dispatchEvent(new Event('input', {bubbles: true})); field.dispatchEvent(new Event('change', {bubbles: true})); }`, selector, strconv.Quote(text)))
}

// state is what the page's header says of the service.
const state = `document.getElementById('state')?.dataset.state`

// Who is not an administrator is told so, and how to become one; as soon as that is done, the page opens.
func testAdminRefused(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := startForAdmin(t, d)
	p := openTab(t, browser)
	p.enter(s, "molly")
	p.await(`document.body.textContent.includes("update users set role = 'admin' where username = 'molly';")`)
	if shown := evaluate[bool](p, `document.querySelector('.chart, .scrolled') !== null`); shown {
		t.Error("figures are shown to who is no administrator")
	}
	d.exec(`update users set role = 'admin' where username = 'molly'`)
	p.await(state + ` === 'live'`)
	d.exec(`update users set role = 'member' where username = 'molly'`)
	p.await(`document.querySelector('.chart') === null && document.body.textContent.includes("username = 'molly'")`)
	p.expectAccessible("who is no administrator")
	p.expectNoErrors()
}

// What psql does, the page shows; a table is watched and unwatched by it, and what it says that is wrong with one is right.
func testAdminNumbers(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := startForAdmin(t, d)
	d.exec(`create table orders (id int primary key, customer int, secret text)`)
	p := openTab(t, browser)
	p.enter(s, "root")
	p.await(state + ` === 'live' && document.querySelector('.wrong.well')`)

	s.dial("messages", "messages:7")
	p.await(`[...document.querySelectorAll('section')].find((s) => s.ariaLabelledByElements?.[0].id === 'channels-title' || s.getAttribute('aria-labelledby') === 'channels-title')
		.textContent.includes('messages:7')`)
	d.exec(`insert into messages (author_id, title, content) select 1, 'many ' || i, '' from generate_series(1, 100) as i`)
	const value = `document.querySelector('.chart .plot').getAttribute('aria-label')`
	p.await(`!/between 0 and 0|between 0 and 0\.|not known/.test(` + value + `)`)

	// The form, with the SQL that does the same.
	p.await(`document.querySelector('#tables-title ~ button.main')`)
	p.click(`#tables-title ~ button.main`)
	p.await(`[...document.querySelector('[name=table]')?.options ?? []].some((o) => o.value === 'orders')`)
	if evaluate[bool](p, `[...document.querySelectorAll('[name=table] option')].some((o) => /accounts|sessions|refresh|mutations|tidings/.test(o.value))`) {
		t.Error("tables are offered of which nobody is to be told")
	}
	p.fill("[name=table]", "orders")
	p.await(`[...document.querySelector('[name=key]').options].some((o) => o.value === 'customer')`)
	p.fill("[name=key]", "customer")
	p.fill("[name=read]", "public")
	p.fill("[name=topic]", "o'rders")
	p.click("[name=all]")
	p.await(`document.querySelectorAll('fieldset input').length === 4`)
	p.expectAccessible("the form for a table")
	p.click("fieldset label:last-of-type input") // secret
	sql := `select tidings.watch('orders', topic => 'o''rders', key => 'customer', columns => array['id', 'customer'], read => 'public');`
	p.await(`document.getElementById('watch-sql').textContent === ` + strconv.Quote(sql))
	p.fill("[name=event]", "no good")
	p.click("form[name=watch] [type=submit]")
	p.await(`document.querySelector('[name=event]').getAttribute('aria-invalid') === 'true'`)
	p.fill("[name=event]", "")
	p.click("form[name=watch] [type=submit]")
	p.await(`document.querySelector('form[name=watch]') === null && document.getElementById('tables-title').closest('section').textContent.includes("o'rders")`)
	if got := query[string](d, `select concat_ws(' ', topic, key, columns, read) from tidings.watches where relation = 'orders'::regclass`); got != "o'rders customer {id,customer} public" {
		t.Errorf("the table is watched as %s", got)
	}

	d.exec(`alter table orders disable trigger tidings_insert`)
	p.await(`document.querySelector('.wrong.warn')?.textContent.includes('tidings_insert on public.orders is disabled')`)
	evaluate[chromedp.Void](p, `[...document.querySelectorAll('tr')].find((r) => r.querySelector('th')?.textContent.startsWith('orders')).querySelector('button:last-of-type').click()`)
	p.await(`document.querySelector('dialog[open] .dangerous')`)
	p.expectAccessible("something is wrong with a table, and it is asked whether to unwatch it")
	p.click(`dialog .dangerous`)
	p.await(`document.querySelector('dialog') === null && document.querySelector('.wrong.well')`)
	if query[bool](d, `select exists (select from tidings.watches where relation = 'orders'::regclass)`) {
		t.Error("the table is watched still")
	}
	p.expectNoErrors()
}

// An event is followed, a broadcast arrives at another client, and a user is sent away.
func testAdminActs(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := startForAdmin(t, d)
	p := openTab(t, browser)
	p.enter(s, "root")
	p.await(state + ` === 'live'`)

	p.fill("[name=follow]", "messages")
	p.click("#follow [type=submit]")
	p.await(`document.querySelector('#follow .mark.well')?.textContent.includes('messages: live')`)
	d.message("<b>followed</b>")
	p.await(`document.querySelector('.events')?.textContent.includes('<b>followed</b>') && document.querySelector('.events b').textContent === 'message_added'`)
	p.click("#follow [aria-pressed]")
	p.await(`document.querySelector('#follow [aria-pressed=true]')`)
	d.message("while it is paused")
	p.await(`document.querySelector('#follow [aria-pressed]').textContent.includes('(1 new)') && !document.querySelector('.events').textContent.includes('paused')`)
	p.click("#follow [aria-pressed]")
	p.await(`document.querySelector('.events').textContent.includes('while it is paused')`)
	p.fill("#follow [type=search]", "FOLLOWED")
	p.await(`document.querySelectorAll('.events li').length === 1`)
	p.expectAccessible("a channel is followed")

	other := s.dial("messages")
	p.await(`[...document.querySelectorAll('tr')].some((r) => r.querySelector('th')?.textContent === 'messages' && r.querySelector('.number')?.textContent === '2')`)
	p.fill("[name=channel]", "messages")
	p.fill("[name=data]", `{"text": `)
	p.await(`document.querySelector('#json-problem.error')`)
	p.fill("[name=data]", `{"text": "mind the gap"}`)
	p.await(`document.querySelector('#json-problem.none')`)
	p.click("form[name=broadcast] [type=submit]")
	p.await(`document.querySelector('dialog[open]')?.textContent.includes('2 subscribers')`)
	p.click(`dialog .main`)
	if f := other.expect("announcement"); string(f.Data) != `{"text": "mind the gap"}` && string(f.Data) != `{"text":"mind the gap"}` {
		t.Errorf("got %s", f.text)
	}
	p.await(`document.querySelector('dialog') === null && document.body.textContent.includes('messages was told')`)
	p.fill("#follow [type=search]", "")
	p.await(`document.querySelector('.events').textContent.includes('mind the gap')`)

	signed := s.signs("sign-in", fmt.Sprintf(`{"username":"molly","password":%q}`, adminPassword), nil)
	guest := s.dialQuery("channel=messages&token=" + signed.AccessToken)
	guest.expect("subscribed")
	p.fill("[name=user]", "MOLL")
	p.await(`document.querySelectorAll('.users li').length === 1`)
	p.click(".users button")
	p.await(`document.querySelector('dialog[open] [name=revoke]')`)
	p.click(`dialog [name=revoke]`)
	p.click(`dialog .dangerous`)
	guest.expelled(4004)
	p.await(`document.querySelector('dialog') === null && document.body.textContent.includes('has to sign in again')`)
	p.expectNoErrors()
}

// The database goes away: the page says so, with the figures that the service has by itself. The service goes away: the page says since when,
// and keeps what it knew.
func testAdminOutage(t *testing.T, browser context.Context) {
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	s := startForAdmin(t, d)
	p := openTab(t, browser)
	p.enter(s, "root")
	p.await(state + ` === 'live' && document.querySelectorAll('.chart .line').length === 6 && document.querySelector('.wrong.well')`)
	s.dial("messages")
	cluster.Stop()
	p.await(state + ` === 'live' && document.querySelector('.wrong.bad')?.textContent.includes('The database does not answer')`)
	p.await(`document.querySelectorAll('tbody')[0].textContent.includes('does not read') && document.getElementById('log-title').closest('.stale') !== null`)
	cluster.Start()
	p.await(`document.querySelector('.wrong.well')`)

	s.end()
	p.await(state + ` === 'stale' && document.querySelector('.stale .chart') && document.querySelector('.wrong.bad')?.textContent.includes('has not answered since')`)
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	start(t, d.url, options{listen: s.addr, accounts: accounts})
	p.await(state + ` === 'live' && document.querySelector('.stale') === null`)
	p.expectFewErrors("status of 503") // which the browser tells of, whatever the page does
}

func testAdminLooks(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := startForAdmin(t, d)
	p := openTab(t, browser)
	p.enter(s, "root")
	p.await(`document.getElementById('state')?.dataset.state === 'live'`)
	s.dial("messages", "comments:1")
	d.exec(`insert into messages (author_id, title, content) select 1, 'many ' || i, '' from generate_series(1, 30) as i`)
	p.await(`history.length > 0 && document.querySelectorAll('.chart .line').length === 6`)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			p.screen(width, scheme)
			p.expectAccessible(fmt.Sprintf("in %s, at %d pixels", scheme, width))
			if wide := evaluate[int](p, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("in %s, at %d pixels, the page is %d wide", scheme, width, wide)
			}
			p.picture(fmt.Sprintf("admin-%s-%d.png", scheme, width))
		}
	}
	p.expectNoErrors()
}
