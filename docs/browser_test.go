package docs_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// startBrowser starts a browser when the first page is opened, and returns what opens one, and what says what it shows.
func startBrowser(t *testing.T) func(url string) (text func() string) {
	t.Helper()
	var browser context.Context
	return func(url string) func() string {
		t.Helper()
		if browser == nil {
			browser = launch(t)
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

func launch(t *testing.T) context.Context {
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
