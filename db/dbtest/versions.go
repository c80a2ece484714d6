package dbtest

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Versions are the directories with the programs of those versions of PostgreSQL that npm brings, by their number. They have postgres and
// initdb, and nothing else. Where they are not installed, the test is skipped.
func Versions(t testing.TB) map[int]string {
	t.Helper()
	if os.Getenv("TIDINGS_TEST_POSTGRES") != "" {
		t.Skip("the tests are run with one PostgreSQL")
	}
	_, file, _, _ := runtime.Caller(0)
	pattern := filepath.Join(filepath.Dir(file), "../testdata/npm/node_modules/postgres-*/native/bin")
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		Missing(t, "there is no other PostgreSQL")
	}
	versions := make(map[int]string)
	for _, dir := range found {
		_, number, _ := strings.Cut(filepath.Base(filepath.Dir(filepath.Dir(dir))), "-")
		if n, err := strconv.Atoi(number); err == nil {
			versions[n] = dir
		}
	}
	return versions
}
