package http_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	tidingshttp "tidings/http"
)

// expectAccessible has axe-core look at the page.
func (p *tab) expectAccessible(what string) {
	p.t.Helper()
	if !evaluate[bool](p, `'axe' in window`) {
		if _, err := findNode(); err != nil {
			p.t.Fatal(err)
		}
		source, err := os.ReadFile(npmDirectory + "/node_modules/axe-core/axe.min.js")
		if err != nil {
			p.t.Fatal(err)
		}
		evaluate[chromedp.Void](p, string(source)+";undefined")
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`axe.run(document, {resultTypes: ['violations']}).then((results) =>
		results.violations.flatMap((v) => v.nodes.map((node) => v.id + ': ' + node.html + ' ' + node.failureSummary)))`,
		func(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }))
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	for _, f := range found {
		p.t.Errorf("%s: %s", what, f)
	}
}

// Nothing that axe-core finds keeps anybody from using the page, however it is looked at.
func testPageAccessible(t *testing.T, browser context.Context) {
	d, s := channelWithAccounts(t, tidingshttp.AccountOptions{})
	id := d.message("One")
	for i := range 5 {
		d.comment(id, fmt.Sprintf("comment %d on https://example.com", i))
	}
	p := openPage(t, browser, s.addr)
	p.await(`document.querySelectorAll('#messages > article').length === 1`)
	p.expectAccessible("signed out")
	p.click(`[data-sign-up]`)
	p.await(`document.querySelector('dialog[open]')`)
	p.expectAccessible("signing up")
	p.click(`dialog .round`)
	p.signUp("dora", "Dora")
	d.exec(`insert into comments (message_id, author_id, content) values ($1, (select id from users where username = 'dora'), 'x')`, id)
	d.comment(id, "@dora look")
	p.await(`document.title === '(1) tidings'`)
	p.write("Two", "Mine")
	p.await(`document.querySelectorAll('#messages > article').length === 2 && !document.querySelector('[data-pending]')`)

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 320} {
			what := fmt.Sprintf("%s, %d pixels", scheme, width)
			p.do(chromedp.EmulateViewport(width, 700))
			ctx, cancel := context.WithTimeout(p.ctx, patience)
			defer cancel()
			if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
			}); err != nil {
				t.Fatal(err)
			}
			p.await(`matchMedia('(prefers-color-scheme: ` + scheme + `)').matches`)
			p.expectAccessible(what)
			for _, panel := range []string{"notifications", "menu"} {
				p.click(`[data-open="` + panel + `"]`)
				p.await(`document.querySelector('#panel-` + panel + `:popover-open')?.childElementCount > 0`)
				p.expectAccessible(what + ", " + panel)
				evaluate[chromedp.Void](p, `document.getElementById('panel-`+panel+`').hidePopover()`)
			}
		}
	}
	p.click(`[data-open="menu"]`)
	p.click(`input[value="ru"]`)
	p.await(`document.documentElement.lang === 'ru' && document.querySelector('#state')?.textContent === 'На связи'`)
	p.expectAccessible("Russian")
	if small := evaluate[string](p, smallTargets); small != "" {
		t.Errorf("too small to be hit: %s", small)
	}
	if text := evaluate[string](p, `document.body.innerText`); strings.Contains(text, "{") {
		t.Errorf("a word has a value that was not put in: %s", text)
	}
	p.expectNoErrors()
}

// smallTargets are what is to be clicked and is less than 24 pixels high or wide, but for links in text.
const smallTargets = `[...document.querySelectorAll('button, input, select, textarea')].filter((e) => e.checkVisibility()).filter((e) => {
	const { width, height } = e.getBoundingClientRect();
	return width > 0 && (width < 24 || height < 24) && !e.closest('label');
}).map((e) => e.outerHTML).join('\n')`
