package http_test

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"
)

// altering lets window.change alter what the service answers to the page, and window.answers counts these.
const altering = `{
	const real = window.fetch;
	window.answers = 0;
	window.fetch = async (url, init) => {
		if (window.refuse?.(url)) throw new TypeError('refused');
		const response = await real(url, init);
		if (url !== '/graphql') return response;
		let body = await response.json();
		body = window.change?.(body) ?? body;
		if (body.data?.service?.instances) window.answers += 1;
		return new Response(JSON.stringify(body));
	};
}`

// What instances say may be odd: clocks jump, they die and come back, something in front of them answers. What the page says is true then, too.
func testAdminOdd(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	s := startForAdmin(t, d)
	p := openTab(t, browser)
	p.enter(s, "root")
	p.await(state + ` === 'live' && document.querySelector('.wrong.well')`)
	evaluate[chromedp.Void](p, altering)
	const firstTable = `document.querySelector('table').textContent`

	// Another instance dies without a word, and another one is there in its place.
	another := func(name, silent string) {
		t.Helper()
		evaluate[chromedp.Void](p, `window.change = (body) => {
			const all = body.data?.service?.instances;
			if (all) all.push({...all[0], name: '`+name+`', host: '<b>elsewhere</b>', silentSeconds: `+silent+`});
		}`)
	}
	another("first", "7")
	p.await(`document.querySelector('.wrong.bad')?.textContent.includes('<b>elsewhere</b>') && document.querySelector('.wrong.bad').textContent.includes('has said nothing for 7')`)
	evaluate[chromedp.Void](p, `window.change = null`)
	p.await(`document.querySelector('.wrong.warn')?.textContent.includes('and is gone')`)
	another("second", "0")
	p.await(`document.querySelector('.wrong.note')?.textContent.includes('was started again at')`)

	// The clock is put back by an hour: the rates go on from there.
	evaluate[chromedp.Void](p, `{
		let back = 0;
		window.change = (body) => {
			const own = body.data?.service?.instances?.[0];
			if (!own) return;
			back += 1;
			own.events += 1000 * back;
			own.at = new Date(Date.parse(own.at) - 3600_000).toISOString();
			body.data.service.log.oldestAt = new Date(Date.now() + 60_000).toISOString(); // the database's clock is ahead
		};
	}`)
	p.await(`/^(9\d\d|1,0\d\d)$/.test(document.querySelector('table tbody td:nth-of-type(3)').textContent)`)
	if evaluate[bool](p, `document.getElementById('log-title').closest('section').textContent.includes('-')`) {
		t.Errorf("the age of the oldest event is negative")
	}

	// Something in front of the service answers; then the service, that it does not know who asks.
	evaluate[chromedp.Void](p, `window.change = () => ({error: 'bad gateway'})`)
	p.await(state + ` === 'stale' && document.querySelector('.wrong.bad')?.textContent.includes('something else than the service has answered')`)
	evaluate[chromedp.Void](p, `window.change = () => ({errors: [{message: 'the database does not answer: try again', extensions: {code: 'UNAVAILABLE'}}], data: null})`)
	p.await(`document.querySelector('.wrong.bad')?.textContent.includes('The service answers, but has told nothing since')`)
	evaluate[chromedp.Void](p, `window.change = null`)
	p.await(state + ` === 'live'`)
	if shown := evaluate[string](p, firstTable); shown == "" {
		t.Error("there is no table")
	}

	// Who could not sign out is told so.
	evaluate[chromedp.Void](p, `window.refuse = (url) => url === '/auth/sign-out'`)
	p.click("header button")
	p.await(`document.querySelector('header .error')?.textContent.includes('still be signed in') && document.querySelector('[name=password]') === null`)
	evaluate[chromedp.Void](p, `window.refuse = null`)
	p.await(state + ` === 'live'`)
	p.click("header button")
	p.await(`document.querySelector('[name=password]') !== null && document.querySelector('header .error') === null`)
	if n := query[int](d, `select count(*) from sessions where expires_at > now()`); n != 2 { // since signing up
		t.Errorf("%d sessions go on", n)
	}
	p.expectNoErrors()
}
