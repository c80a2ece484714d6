package docs_test

import "testing"

// Those who come from elsewhere do what is told to them.
func TestFromPgEventserv(t *testing.T) {
	t.Parallel()
	newWalk(t, "from-pg_eventserv.md").run(readBlocks(t, "from-pg_eventserv.md"))
}

func TestFromStrawberry(t *testing.T) {
	t.Parallel()
	w := newWalk(t, "from-strawberry.md")
	w.python = pythonWith(t, "websockets")
	w.run(readBlocks(t, "from-strawberry.md"))
}
