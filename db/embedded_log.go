package db

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxLog is how large the server's log may grow before its content moves to the one older file.
const maxLog = 16 << 20

// shortenLog empties the log file if it is large, after copying its end. The file itself stays, because a running server
// has it open, for appending: the server goes on at the new end. A line written in between may be lost.
func shortenLog(path string) error {
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil || info.Size() <= maxLog {
		return err
	}
	older, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer older.Close()
	if _, err := io.Copy(older, io.NewSectionReader(log, info.Size()-maxLog, maxLog)); err != nil {
		return err
	}
	return log.Truncate(0)
}

// readLog returns what the log says from start on, or its last 64 KB if that is less. It is for error texts: what cannot be read
// is left out.
func readLog(path string, start int64) string {
	log, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return ""
	}
	const most = 64 << 10
	if start > info.Size() {
		start = 0 // it was shortened meanwhile
	}
	text, _ := io.ReadAll(io.NewSectionReader(log, max(start, info.Size()-most), most))
	return string(text)
}

// lastLines is the part of a program's output that an error should show.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
