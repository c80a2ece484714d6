package db_test

import (
	"strings"
	"testing"

	"tidings/db"
)

// Of a URL that names a file that is not there, which file is said, and nothing of the password.
func TestCheckURLNamesTheFile(t *testing.T) {
	t.Parallel()
	err := db.CheckURL("postgres://live:secret@127.0.0.1/shop?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")
	if err == nil || !strings.Contains(err.Error(), "/nowhere/ca.pem: no such file") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
