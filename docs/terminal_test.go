package docs_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// terminal is a shell in which a reader types. What is set in it stays, and what runs in it can be interrupted.
type terminal struct {
	t     testing.TB
	name  string
	shell *exec.Cmd
	typed *os.File // takes what is typed, a NUL behind each
	ended chan struct{}
	heard func(text string) // is given what was printed, whenever there is more

	mu   sync.Mutex
	text bytes.Buffer

	begun int // how often something was typed
	from  int // where the text of what was typed last begins
	seen  int // of its lines, those that were compared already
}

// mark stands where what was typed has ended.
const mark = "\x1e"

// A shell that interprets what comes on descriptor 3. It survives an interrupt, as one does that a person types in; a line that fails ends it, as a
// reader would stop there.
const interpreter = `
trap : INT
trap '[ $? -eq 130 ] || exit 1' ERR
set -o pipefail
while IFS= read -r -d '' -u 3 typed; do
	eval "$typed" </dev/null
	printf '\036'
done`

func openTerminal(t testing.TB, name, dir string, env []string, heard func(text string)) *terminal {
	t.Helper()
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, name: name, shell: exec.Command("bash", "--norc", "-c", interpreter), typed: typed, heard: heard, ended: make(chan struct{})}
	term.shell.Dir, term.shell.Env = dir, env
	term.shell.ExtraFiles = []*os.File{in}
	term.shell.Stdout, term.shell.Stderr = term, term
	term.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = term.shell.Start()
	_ = in.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = term.shell.Wait() // it is seen by what it did not do
		close(term.ended)
	}()
	t.Cleanup(func() {
		_ = typed.Close()
		_ = syscall.Kill(-term.shell.Process.Pid, syscall.SIGKILL) // with all that runs in it
		<-term.ended
		if t.Failed() {
			text := term.String()
			t.Logf("in terminal %q, at the end:\n%s", name, text[max(0, len(text)-8192):])
		}
	})
	return term
}

func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	term.text.Write(p)
	text := term.text.String()
	term.mu.Unlock()
	term.heard(text)
	return len(p), nil
}

func (term *terminal) String() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

// begin types lines, and does not wait for their end. What was printed before is not looked at any more.
func (term *terminal) begin(script string) {
	term.t.Helper()
	term.begun++
	term.from, term.seen = len(term.String()), 0
	if _, err := term.typed.WriteString(script + "\x00"); err != nil {
		term.t.Fatalf("type into terminal %s: %v", term.name, err)
	}
}

// running reports whether what was typed has not ended yet.
func (term *terminal) running() bool { return strings.Count(term.String(), mark) < term.begun }

// finish waits until what was typed has ended, and returns what it printed.
func (term *terminal) finish(where string) string {
	term.t.Helper()
	term.await(where, "the end of what was typed", func() bool { return !term.running() })
	return term.printed()
}

// printed is what that which was typed last has printed so far.
func (term *terminal) printed() string {
	return strings.ReplaceAll(term.String()[term.from:], mark, "")
}

// interrupt is Ctrl-C.
func (term *terminal) interrupt(where string) {
	term.t.Helper()
	if !term.running() {
		term.t.Fatalf("%s: in terminal %s nothing runs that could be interrupted", where, term.name)
	}
	if err := syscall.Kill(-term.shell.Process.Pid, syscall.SIGINT); err != nil {
		term.t.Fatalf("%s: %v", where, err)
	}
	term.finish(where)
}

// expect waits until what runs has printed what is shown, which the next look begins behind.
func (term *terminal) expect(where string, shown []string) {
	term.t.Helper()
	term.await(where, strings.Join(shown, "\n"), func() bool {
		text := term.printed()
		whole := lines(text[:strings.LastIndexByte(text, '\n')+1]) // a line may be on its way
		used, err := compare(shown, whole[min(term.seen, len(whole)):], true)
		if err == nil {
			term.seen += used
		} else if !errors.Is(err, errMore) {
			term.t.Fatalf("%s: %v", where, err)
		}
		return err == nil
	})
}

// await waits until a condition holds, and gives up where the shell has ended.
func (term *terminal) await(where, what string, holds func() bool) {
	term.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-term.ended:
			if !holds() {
				term.t.Fatalf("%s: what was typed has failed", where)
			}
			return
		case <-deadline.C:
			term.t.Fatalf("%s: after %s there is not %s", where, patience, what)
		case <-tick.C:
		}
	}
}
