package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cursorFile keeps a cursor in a file, which has a whole one at any time. What is written is forced to the disk once a second, and at the
// end.
type cursorFile struct {
	path   string
	synced time.Time
	kept   string
}

// openCursorFile makes sure that there can be a cursor, and returns the one that there is; "": none.
func openCursorFile(path string) (*cursorFile, string, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("--cursor-file: %w", err)
	}
	cursor := strings.TrimSpace(string(text))
	if len(cursor) > 64<<10 || strings.ContainsFunc(cursor, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, "", fmt.Errorf("--cursor-file: %s has something else in it than a cursor, and is left alone", path)
	}
	f := &cursorFile{path: path}
	probe, err := f.next()
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return nil, "", fmt.Errorf("--cursor-file: it cannot be written: %w", err)
	}
	return f, cursor, nil
}

// next is a file to take the place of the one that there is. Who keeps his cursor in the same has another one.
func (f *cursorFile) next() (*os.File, error) {
	return os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*.new")
}

func (f *cursorFile) keep(cursor string) error {
	return f.write(cursor, time.Since(f.synced) > time.Second)
}

func (f *cursorFile) close() error {
	if f.kept == "" {
		return nil
	}
	return f.write(f.kept, true)
}

func (f *cursorFile) write(cursor string, sync bool) error {
	file, err := f.next()
	if err != nil {
		return fmt.Errorf("--cursor-file: %w", err)
	}
	_, err = file.WriteString(cursor + "\n")
	if err == nil && sync {
		err = file.Sync()
		f.synced = time.Now()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // of what is half written there is no use
		return fmt.Errorf("--cursor-file: %w", err)
	}
	f.kept = cursor
	return nil
}
