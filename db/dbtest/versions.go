package dbtest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Versions are the directories with the programs of those versions of PostgreSQL that npm brings, by their number. They have postgres and
// initdb, and nothing else. Where they are not installed, or tests are run with a certain one, there is but one, the one that all tests run with.
func Versions(t testing.TB) map[string]string {
	t.Helper()
	one := map[string]string{"the only one": ""}
	if os.Getenv("TIDINGS_TEST_POSTGRES") != "" {
		return one
	}
	_, file, _, _ := runtime.Caller(0)
	pattern := filepath.Join(filepath.Dir(file), "../testdata/npm/node_modules/postgres-*/native/bin")
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" && runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
			t.Fatal("there are no other versions of PostgreSQL: deploy/install-test-tools.sh installs them")
		}
		return one
	}
	versions := make(map[string]string)
	for _, dir := range found {
		_, number, _ := strings.Cut(filepath.Base(filepath.Dir(filepath.Dir(dir))), "-")
		versions[number] = dir
	}
	return versions
}
