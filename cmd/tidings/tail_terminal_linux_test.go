package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"tidings/cmd/tidings/programtest"

	"golang.org/x/sys/unix"
)

// terminal is the end of a pseudo-terminal of so many columns that a program is given; what it writes there is written to screen.
func terminal(t testing.TB, columns uint16, screen *programtest.Output) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this system has no terminals: ", err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			_, _ = screen.Write(b[:n])
			if err != nil {
				return // nobody has the other end any more
			}
		}
	}()
	t.Cleanup(func() {
		_ = end.Close()
		<-read
		_ = master.Close()
	})
	return end
}

// beginOnTerminal starts tidings on a terminal; what stands there is in stdout.
func beginOnTerminal(t testing.TB, columns uint16, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(tidings, args...), ended: make(chan struct{})}
	end := terminal(t, columns, &p.stdout)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, end, end
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in p.cmd.ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.ended
		if t.Failed() {
			t.Logf("on the terminal stands:\n%q", &p.stdout)
		}
	})
	return p
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]*m")

// On a terminal there are colours, lines that are as wide as it is at most, and a word on how to go on.
func TestTailOnATerminal(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	_, at := serve(t, environ(), "--database-url", address)
	since := place(t, at, "messages")
	sql(t, address, `insert into messages (author_id, title, content) values (1, 'Hello', repeat('World ', 100))`)
	sql(t, address, `update messages set title = 'Hello, you'`)
	sql(t, address, `delete from messages`)
	env := append(environ("TIDINGS_SERVER=http://"+at), "TERM=xterm", "NO_COLOR=")
	args := []string{"tail", "messages", "comments:1", "--since", since}

	p := beginOnTerminal(t, 80, env, args...)
	p.await(&p.stdout, "(?s)\x1b\\[32mmessage_added.*\x1b\\[33mmessage_updated.*\x1b\\[31mmessage_deleted.*\n")
	p.await(&p.stdout, "following comments:1")
	p.signal(syscall.SIGINT)
	hint := p.await(&p.stdout, `to go on from here: tidings (tail messages comments:1 --since \S+)`)
	if code := p.wait(); code != 0 {
		t.Errorf("SIGINT ends it with %d", code)
	}
	events := 0
	for line := range strings.Lines(p.stdout.String()) {
		line = strings.TrimRight(escapes.ReplaceAllString(line, ""), "\r\n")
		if strings.Contains(line, "message_") {
			events++
			if n := utf8.RuneCountInString(line); n > 80 || strings.HasPrefix(line, "20") {
				t.Errorf("the line has %d characters: %s", n, line)
			}
		}
	}
	if events != 3 {
		t.Errorf("there are %d events", events)
	}

	sql(t, address, `insert into messages (author_id, title, content) values (1, 'more', repeat('x', 200) || ' the end')`)
	p = beginOnTerminal(t, 80, env, append(strings.Fields(hint[1]), "--full")...)
	p.await(&p.stdout, `(?s)\x1b.*more.*the end`)
	p.signal(syscall.SIGTERM)
	p.wait()
	if out := p.stdout.String(); strings.Contains(out, "Hello") {
		t.Errorf("it goes on too early: %s", out)
	}

	for _, plain := range [][]string{{"NO_COLOR=1"}, {"TERM=dumb"}} {
		p = beginOnTerminal(t, 80, append(env, plain...), append(args, "-n", "3")...)
		if p.wait(); strings.Contains(p.stdout.String(), "\x1b") {
			t.Errorf("with %s there are colours", plain)
		}
	}
	p = beginOnTerminal(t, 80, env, append(args, "-n", "3", "--color", "never")...)
	if p.wait(); strings.Contains(p.stdout.String(), "\x1b") {
		t.Error("there are colours that nobody wants")
	}
	if out := succeed(t, append(env, "NO_COLOR=1"), append(args, "-n", "3", "--color", "always")...); !strings.Contains(out, "\x1b[32m") || !strings.Contains(out, "World World \",") {
		t.Errorf("in colours, and no terminal, it is %q", out)
	}
}
