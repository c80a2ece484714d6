package docs_test

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/http/browsertest"
)

// startBrowser starts a browser when the first page is opened, and returns what opens one, and what says what it shows.
func startBrowser(t *testing.T) func(url string) (text func() string) {
	t.Helper()
	var browser context.Context
	return func(url string) func() string {
		t.Helper()
		if browser == nil {
			browser = browsertest.Start(t)
		}
		tab, cancel := chromedp.NewContext(browser)
		t.Cleanup(func() {
			_ = chromedp.Cancel(tab)
			cancel()
		})
		if err := chromedp.Do(tab); err != nil { // it lives as long as the first context that it is used with
			t.Fatalf("open a tab: %v", err)
		}
		ctx, done := context.WithTimeout(tab, patience)
		defer done()
		if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
			t.Fatalf("open %s: %v", url, err)
		}
		return func() string {
			ctx, done := context.WithTimeout(tab, patience)
			defer done()
			text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText.replace(/\n+/g, '\n')`))
			if err != nil {
				t.Fatalf("look at %s: %v", url, err)
			}
			return text
		}
	}
}
