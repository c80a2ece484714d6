package db

import (
	"fmt"
	"io"
	"strings"

	"github.com/golang-migrate/migrate/v4/database"
)

// atomicDriver has each file and the version to which it leads written in one transaction. golang-migrate writes first that the version is
// dirty, then runs the file, and then writes that it was run: whoever is killed in between leaves a database of which nobody knows where it
// stands, and others see a version that is not there yet.
type atomicDriver struct {
	database.Driver

	table   string // of the version
	target  int    // to which the next file leads
	written bool
}

// SetVersion is called before a file is run, when the version is dirty, and after.
func (a *atomicDriver) SetVersion(version int, dirty bool) error {
	if dirty {
		a.target, a.written = version, false
		return nil
	}
	if a.written {
		return nil
	}
	return a.Driver.SetVersion(version, false)
}

// Run applies a file. PostgreSQL takes statements that are sent together for one transaction.
func (a *atomicDriver) Run(file io.Reader) error {
	version := "\n;\ndelete from tidings." + a.table
	if a.target >= 0 {
		version += fmt.Sprintf(";\ninsert into tidings.%s (version, dirty) values (%d, false)", a.table, a.target)
	}
	if err := a.Driver.Run(io.MultiReader(file, strings.NewReader(version))); err != nil {
		return err
	}
	a.written = true
	return nil
}
