package docs_test

import (
	"os"
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
	// Where the service does not bring /tidings.js yet, the page is left out.
	if _, err := os.Stat("../clients/js/tidings.js"); err != nil {
		blocks = slices.DeleteFunc(blocks, func(b block) bool { return b.name == "orders.html" || strings.Contains(b.text, "/tidings.js") })
	}
	w.run(blocks)
}
