package docs_test

import (
	"slices"
	"strings"
	"testing"
)

// A reader follows docs/getting-started.md on a database that has been there for long, line by line.
func TestGettingStarted(t *testing.T) {
	t.Parallel()
	w := newWalk(t, "getting-started.md")
	w.open = startBrowser(t)
	blocks := readBlocks(t, "getting-started.md")
	// Until the service brings /tidings.js, the page is left out.
	blocks = slices.DeleteFunc(blocks, func(b block) bool {
		return b.name == "orders.html" || strings.Contains(b.text, "/tidings.js")
	})
	w.run(blocks)
}
