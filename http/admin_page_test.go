package http_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// TestAdminPage looks at the operator's page as operators do, in a real browser.
func TestAdminPage(t *testing.T) {
	t.Parallel()
	browser := startBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"looks": testAdminLooks,
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

func (p *tab) click(selector string) {
	p.t.Helper()
	evaluate[chromedp.Void](p, fmt.Sprintf(`document.querySelector(%q).click()`, selector))
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
			if wide := evaluate[int](p, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("in %s, at %d pixels, the page is %d wide", scheme, width, wide)
			}
			picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("admin-%s-%d.png", scheme, width)), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.expectNoErrors()
}
