package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"testing"
)

// followInJavaScript follows with the client in JavaScript, in a process of Node's, which tells what it is told.
func (w *witnessed) followInJavaScript(ctx context.Context, t testing.TB, at, cursor string) {
	code := fmt.Sprintf(`(globalThis.client = connect({ url: 'http://%s' }), globalThis.log = (frame) => console.log(JSON.stringify(frame)),
		client.onState((state, error) => log({ state, error: error?.code })),
		client.subscribe('ticks', { event: log, reset: () => log({ type: 'reset' }), error: (error) => log({ type: 'error', code: error.code }) }, { since: '%s' }),
		'begun')`, at, cursor)
	cmd := exec.CommandContext(ctx, "node", "tidings.mjs")
	cmd.Dir, cmd.Stderr = "../../http/testdata/npm", t.Output()
	request, err := json.Marshal(map[string]string{"id": "1", "code": code})
	if err != nil {
		t.Error(err)
		return
	}
	stdin, in := io.Pipe() // it is not closed before ctx ends
	defer in.Close()
	cmd.Stdin = stdin
	go func() { _, _ = in.Write(append(request, '\n')) }()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.problem("%v: make setup-test installs it", err)
		return
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		w.hearJavaScript(lines.Bytes())
	}
	_ = in.Close()
	if err := cmd.Wait(); ctx.Err() == nil {
		w.problem("it ended: %v", err)
	}
}

// hearJavaScript takes a line: what was told, or how the client is.
func (w *witnessed) hearJavaScript(line []byte) {
	var l struct{ Type, State, Error, ID string }
	if err := json.Unmarshal(line, &l); err != nil {
		w.problem("%s: %v", line, err)
	}
	switch {
	case l.Type != "":
		w.hear(line, "")
	case l.Error != "" && !w.late():
		w.problem("got %s", line)
	}
}
