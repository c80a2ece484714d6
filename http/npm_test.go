package http_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// npmScript is a process of Node with a script of testdata/npm, in which a client from npm speaks to the service. It reads requests
// and tells what happens.
type npmScript struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	lines  chan npmLine // closed at the end of what the script tells
	early  []npmLine    // read, and not asked for yet
	killed bool
	ended  bool
}

// npmLine is what a script tells.
type npmLine struct {
	// Of an operation.
	ID       string     `json:"id"`
	Result   *npmResult `json:"result"`
	Errors   npmErrors  `json:"errors"` // it has ended with them
	Complete bool       `json:"complete"`

	// Of the client.
	Connected bool       `json:"connected"`
	Again     bool       `json:"again"` // it had been connected before
	Closed    *npmClosed `json:"closed"`
	HTTP      *npmHTTP   `json:"http"`

	text string // the line itself
}

type npmResult struct {
	Data       json.RawMessage `json:"data"`
	Errors     npmErrors       `json:"errors"`
	Extensions struct {
		Cursor string `json:"cursor"`
	} `json:"extensions"`
}

type npmErrors []struct {
	Message    string `json:"message"`
	Extensions struct {
		Code string `json:"code"`
	} `json:"extensions"`
}

// codes are those of all the errors.
func (e npmErrors) codes() string {
	var codes []string
	for _, err := range e {
		codes = append(codes, err.Extensions.Code)
	}
	return strings.Join(codes, " ")
}

type npmClosed struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// npmHTTP is a request, and how it was answered.
type npmHTTP struct {
	Query  string    `json:"query"`
	Hash   string    `json:"hash"`
	Status int       `json:"status"`
	Answer npmResult `json:"answer"`
}

// npmDirectory is where the scripts are, and the packages.
const npmDirectory = "testdata/npm"

// minNode is the oldest version of Node that the packages work with.
const minNode = 18

// findNode finds Node, once it is sure that all is there.
var findNode = sync.OnceValues(func() (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", errors.New("there is no Node on this machine: make setup-test installs it")
	}
	version, err := exec.Command(node, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", node, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNode {
		return "", fmt.Errorf("%s is Node %s, and the tests need %d or newer: install one, and type make setup-test",
			node, bytes.TrimSpace(version), minNode)
	}
	wanted, err := os.Stat(npmDirectory + "/package-lock.json")
	if err != nil {
		return "", err
	}
	// npm writes this file last. That is compared by the second, as some shells do that run the script.
	installed, err := os.Stat(npmDirectory + "/node_modules/.package-lock.json")
	if err != nil || installed.ModTime().Add(time.Second).Before(wanted.ModTime()) {
		return "", fmt.Errorf("http/%s/node_modules is missing or old: make setup-test installs it", npmDirectory)
	}
	return node, nil
})

// npm starts a script. It ends with the test.
func npm(t testing.TB, name string, args ...string) *npmScript {
	t.Helper()
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	p := &npmScript{t: t, name: name, lines: make(chan npmLine)}
	p.cmd = exec.Command(node, append([]string{name}, args...)...)
	p.cmd.Dir = npmDirectory
	p.cmd.Stderr = &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	t.Cleanup(p.end)
	return p
}

// read reads what the script tells. A line that a killed script began is none.
func (p *npmScript) read(stdout io.Reader) {
	defer close(p.lines)
	reader := bufio.NewReader(stdout)
	for {
		text, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		line := npmLine{text: strings.TrimSuffix(text, "\n")}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			p.t.Errorf("%s says %q: %v", p.name, text, err)
		}
		p.lines <- line
	}
}

// end has the script close its client, and waits for its end.
func (p *npmScript) end() {
	p.t.Helper()
	_ = p.stdin.Close() // it may have ended already
	p.wait()
}

// kill ends the script as nothing can prevent, and returns what it had told before.
func (p *npmScript) kill() []npmLine {
	p.t.Helper()
	p.killed = true
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	return append(p.early, p.wait()...)
}

// wait waits for the script's end, and returns what it tells until then.
func (p *npmScript) wait() (lines []npmLine) {
	p.t.Helper()
	if p.ended {
		return nil
	}
	p.ended = true
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for line := range p.lines {
		lines = append(lines, line)
	}
	if err := p.cmd.Wait(); err != nil && !p.killed {
		p.t.Errorf("%s: %v\n%s", p.name, err, &p.stderr)
	}
	return lines
}

// send begins an operation.
func (p *npmScript) send(id, query string, variables map[string]any) {
	p.t.Helper()
	p.write(map[string]any{"id": id, "query": query, "variables": variables})
}

// stop ends an operation.
func (p *npmScript) stop(id string) {
	p.t.Helper()
	p.write(map[string]any{"id": id, "stop": true})
}

func (p *npmScript) write(request map[string]any) {
	p.t.Helper()
	text, err := json.Marshal(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(text, '\n')); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// await returns the first line that is wanted of those that have not been returned.
func (p *npmScript) await(what string, wanted func(npmLine) bool) npmLine {
	p.t.Helper()
	for i, line := range p.early {
		if wanted(line) {
			p.early = append(p.early[:i], p.early[i+1:]...)
			return line
		}
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case line, ok := <-p.lines:
			switch {
			case !ok:
				p.wait()
				p.t.Fatalf("%s: %s, and it has told nothing of %s\n%s", p.name, p.cmd.ProcessState, what, &p.stderr)
			case wanted(line):
				return line
			}
			p.early = append(p.early, line)
		case <-deadline.C:
			p.t.Fatalf("%s has told nothing of %s for %s, but %s", p.name, what, patience, p.early)
		}
	}
}

func (l npmLine) String() string { return l.text }

// of returns the next line of an operation.
func (p *npmScript) of(id string) npmLine {
	p.t.Helper()
	return p.await("operation "+id, func(line npmLine) bool { return line.ID == id })
}

// expect reads an operation's next result, which must be the data, with its fields in any order.
func (p *npmScript) expect(id, data string) npmResult {
	p.t.Helper()
	var got, want any
	if err := json.Unmarshal([]byte(data), &want); err != nil {
		p.t.Fatalf("%s: %v", data, err)
	}
	line := p.of(id)
	if line.Result != nil && line.Result.Data != nil {
		_ = json.Unmarshal(line.Result.Data, &got) // it is a part of what was JSON
	}
	if line.Result == nil || len(line.Result.Errors) > 0 || !reflect.DeepEqual(got, want) {
		p.t.Fatalf("got %s, want the data %s", line, data)
	}
	return *line.Result
}

// expectComplete reads that the operation has ended.
func (p *npmScript) expectComplete(id string) {
	p.t.Helper()
	if line := p.of(id); !line.Complete {
		p.t.Fatalf("got %s, want the end", line)
	}
}

// expectFailed reads that the operation has ended with an error of the code.
func (p *npmScript) expectFailed(id, code string) {
	p.t.Helper()
	if line := p.of(id); line.Errors.codes() != code {
		p.t.Fatalf("got %s, want the end with an error %s", line, code)
	}
}

// awaitConnected reads that the client is connected, again or for the first time.
func (p *npmScript) awaitConnected(again bool) {
	p.t.Helper()
	p.await("a connection", func(line npmLine) bool { return line.Connected && line.Again == again })
}

// awaitSubscriptionsTo waits until the service has so many of a topic.
func (s *service) awaitSubscriptionsTo(topic string, n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("there are %d subscriptions to %s", n, topic), func() bool {
		_, body := s.readyz()
		return body.Subscriptions[topic] == n
	})
}

func (s *service) graphURL() string   { return "http://" + s.addr + "/graphql" }
func (s *service) graphWSURL() string { return "ws://" + s.addr + "/graphql" }
