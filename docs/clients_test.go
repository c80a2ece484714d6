package docs_test

import (
	"os/exec"
	"testing"
)

// Someone tries the clients of docs/clients.md.
func TestClients(t *testing.T) {
	t.Parallel()
	w := newWalk(t, "clients.md")
	w.python = pythonWith(t, "websockets")
	w.run(readBlocks(t, "clients.md"))
}

// pythonWith finds a Python that has a package.
func pythonWith(t testing.TB, name string) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import "+name).Run() == nil {
			return python
		}
	}
	t.Fatalf("there is no Python with the package %s on this machine: make setup-test installs it", name)
	return ""
}
