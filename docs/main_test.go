// Package docs_test keeps the documents true: it does what they say, line by line, and compares what comes of it with what they show.
package docs_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"tidings/cmd/tidings/programtest"
	"tidings/db/dbtest"
)

// tidings is the program, built for these tests.
var tidings string

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = time.Minute

func TestMain(m *testing.M) {
	var err error
	if tidings, err = programtest.New("dev"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dbtest.Main(m)
}
