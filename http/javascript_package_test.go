package http_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/http/browsertest"

	"github.com/chromedp/chromedp"
)

// clientDirectory is where the JavaScript client is.
const clientDirectory = "../clients/js"

// The service has the client and its types, for pages of any origin.
func TestJavaScriptServed(t *testing.T) {
	t.Parallel()
	s := start(t, newDatabase(t).url, options{})
	for path, media := range map[string]string{"/tidings.js": "text/javascript; charset=utf-8", "/tidings.d.ts": "text/plain; charset=utf-8"} {
		want, err := os.ReadFile(clientDirectory + path)
		if err != nil {
			t.Fatal(err)
		}
		a := s.request("GET", path, http.Header{"Origin": {"https://elsewhere.example"}, "Accept-Encoding": {"identity"}})
		if a.status != http.StatusOK || a.body != string(want) || a.header.Get("Content-Type") != media || a.header.Get("Cache-Control") != "no-cache" ||
			a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {

			t.Errorf("%s is %d, %v, %d bytes", path, a.status, a.header, len(a.body))
		}
		tag := a.header.Get("ETag")
		for _, known := range []string{tag, "W/" + tag, `"another", W/` + tag} { // proxies weaken tags
			if a := s.request("GET", path, http.Header{"If-None-Match": {known}, "Accept-Encoding": {"identity"}}); tag == "" || a.status != http.StatusNotModified || a.body != "" {
				t.Errorf("%s with the tag %s is %d, %d bytes", path, known, a.status, len(a.body))
			}
		}
		a = s.request("GET", path, http.Header{"Accept-Encoding": {"gzip"}, "If-None-Match": {tag}})
		compressed, err := gzip.NewReader(strings.NewReader(a.body))
		if err != nil || a.header.Get("Content-Encoding") != "gzip" || a.header.Get("ETag") == tag {
			t.Fatalf("%s, compressed, is %d, %v: %v", path, a.status, a.header, err)
		}
		if got, err := io.ReadAll(compressed); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, compressed, is something else: %v", path, err)
		}
	}
}

// tool runs a program of node_modules.
func tool(t *testing.T, name string, args ...string) ([]byte, error) {
	t.Helper()
	if _, err := findNode(); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Abs(npmDirectory + "/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, modules+"/.bin/"+name, args...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", name, err, out, &stderr)
	}
	return out, err
}

// The types are those of the module, and let through what they should, in a page and in Node.
func TestJavaScriptTypes(t *testing.T) {
	t.Parallel()
	for _, config := range []string{"tsconfig.json", "tsconfig.node.json", "tsconfig.module.json"} {
		if _, err := tool(t, "tsc", "-p", npmDirectory+"/types/"+config); err != nil {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// The package has what it should, and is small.
func TestJavaScriptPackage(t *testing.T) {
	t.Parallel()
	if _, err := findNode(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "pack", "--dry-run", "--json", "--offline")
	cmd.Dir = clientDirectory
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm pack: %v", err)
	}
	var packed []struct {
		Name  string
		Size  int
		Files []struct{ Path string }
	}
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var files []string
	for _, f := range packed[0].Files {
		files = append(files, f.Path)
	}
	slices.Sort(files)
	if want := []string{"LICENSE", "README.md", "package.json", "tidings.d.ts", "tidings.js"}; packed[0].Name != "tidings" || !slices.Equal(files, want) {
		t.Errorf("the package %s has %v, want %v", packed[0].Name, files, want)
	}
	small, err := tool(t, "esbuild", "--minify", "--format=esm", clientDirectory+"/tidings.js")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(clientDirectory + "/tidings.js")
	if err != nil {
		t.Fatal(err)
	}
	const budget = 6.5 * 1024
	t.Logf("the module: %d bytes, compressed %d; minified and compressed %d, of at most %.0f", len(module), gzipped(t, module), gzipped(t, small), budget)
	if gzipped(t, small) > budget {
		t.Errorf("it has become larger than it should be")
	}
}

func gzipped(t *testing.T, content []byte) int {
	t.Helper()
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return compressed.Len()
}

// exampleFolder is one in which the package tidings is installed, and ws.
func exampleFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range map[string]string{"tidings": clientDirectory, "ws": npmDirectory + "/node_modules/ws"} {
		path, err := filepath.Abs(target)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir+"/node_modules", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, dir+"/node_modules/"+name); err != nil {
			t.Fatal(err)
		}
	}
	// What Node has from version 22 on.
	write(t, dir+"/websocket.mjs", `import WebSocket from 'ws'; globalThis.WebSocket ??= WebSocket;`)
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// example is a program in Node.
type example struct {
	t     *testing.T
	lines chan string
	said  []string
}

// startExample runs a program until the end of the test, or its own.
func startExample(t *testing.T, dir string, args ...string) *example {
	t.Helper()
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, append([]string{"--import", "./websocket.mjs"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := &example{t: t, lines: make(chan string, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(e.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			e.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-done
		_ = cmd.Wait()
	})
	return e
}

// expect waits until the program has printed something.
func (e *example) expect(text string) {
	e.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case line, ok := <-e.lines:
			if !ok {
				e.t.Fatalf("it has ended, and printed %q, not %q", e.said, text)
			}
			e.said = append(e.said, line)
			if strings.Contains(line, text) {
				return
			}
		case <-deadline.C:
			e.t.Fatalf("it has printed %q, not %q", e.said, text)
		}
	}
}

// expectEnd waits until it ends by itself.
func (e *example) expectEnd() {
	e.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case _, ok := <-e.lines:
			if !ok {
				return
			}
		case <-deadline.C:
			e.t.Fatal("it has not ended")
		}
	}
}

var codeBlock = regexp.MustCompile("(?ms)^## ([^\n]+)$|^```(\\w+)\n(.*?)^```$")

// Every program in the README does what it says.
func TestJavaScriptReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(clientDirectory + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDatabase(t)
	d.exec(`create table private (id serial primary key); select tidings.watch('private')`)
	d.comment(d.message("first"), "its comment")
	s := start(t, d.url, options{secret: secret})
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, tokenOf(t, "1", time.Hour, nil))
	}))
	defer tokens.Close()
	dir := exampleFolder(t)

	// What the examples of a section print, and what is written then: in the order of the sections, and of the examples in each.
	steps := map[string][]func(*example){
		"One minute": {func(e *example) {
			e.expect(`[ 'first' ]`)
			d.message("second")
			e.expect(`[ 'first', 'second' ]`)
		}},
		"Events": {func(e *example) {
			e.expect("comments:1 is live")
			d.comment(1, "another")
			e.expect("comment_added 2")
		}, func(e *example) {
			s.awaitSubscriptionsTo("messages", 1)
			d.message("iterated")
			e.expect("iterated")
			e.expectEnd()
		}},
		"Load, then follow": {func(e *example) {
			e.expect("'first'")
		}, func(e *example) {
			e.expect("3 newest")
			d.message("followed")
			e.expect("message_added followed")
		}},
		"Where you were": {func(e *example) {
			s.awaitSubscriptionsTo("messages", 1)
			d.message("kept")
			e.expect("kept")
		}},
		"The connection": {func(e *example) {
			e.expect("live")
		}},
		"Tokens": {func(e *example) {
			s.awaitSubscriptionsTo("private", 1)
			d.exec(`insert into private default values`)
			e.expect("private 1")
		}},
		"Node": {func(e *example) {
			e.expect("rows")
			e.expectEnd()
		}},
	}
	section := ""
	for _, found := range codeBlock.FindAllStringSubmatch(string(readme), -1) {
		heading, language, code := found[1], found[2], found[3]
		switch {
		case heading != "":
			section = heading
		case language == "jsx":
			hook, err := os.ReadFile(clientDirectory + "/examples/react/use-tidings.js")
			if err != nil || !strings.HasPrefix(string(hook), strings.Split(code, "export")[0]) || !strings.Contains(string(hook), strings.SplitAfter(code, "client, channel) {")[1]) {
				t.Errorf("the hook is another one in the example: %v", err)
			}
		case language == "js":
			if len(steps[section]) == 0 {
				t.Fatalf("what does this do?\n%s", code)
			}
			step := steps[section][0]
			steps[section] = steps[section][1:]
			code = strings.NewReplacer("http://127.0.0.1:8080", "http://"+s.addr, "http://127.0.0.1:8081", tokens.URL).Replace(code)
			t.Run(section, func(t *testing.T) {
				write(t, dir+"/example.mjs", code)
				step(startExample(t, dir, "example.mjs"))
			})
			s.awaitConnections(0)
		}
	}
	for section, left := range steps {
		if len(left) > 0 {
			t.Errorf("%s has no example any more", section)
		}
	}
}

// The program in examples goes on where it was.
func TestJavaScriptNodeExample(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	dir := exampleFolder(t)
	program, err := os.ReadFile(clientDirectory + "/examples/node.mjs")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/node.mjs", string(program))
	t.Run("first", func(t *testing.T) {
		e := startExample(t, dir, "node.mjs", "http://"+s.addr, "messages", "comments:1")
		s.awaitSubscriptionsTo("messages", 1)
		d.message("first")
		e.expect(`message_added {"id":1`)
		eventually(t, "the cursor is kept", func() bool { text, err := os.ReadFile(dir + "/cursor"); return err == nil && len(text) > 0 })
	})
	d.comment(1, "meanwhile")
	t.Run("again", func(t *testing.T) {
		e := startExample(t, dir, "node.mjs", "http://"+s.addr, "messages", "comments:1")
		e.expect(`comment_added {"id":1`)
	})
}

// The pages in examples, on an origin of their own, show what is in the database.
func TestJavaScriptPages(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	first := d.message("first")
	d.comment(first, "its comment")
	s := start(t, d.url, options{})
	dir := t.TempDir()
	for _, file := range []string{"plain.html", "react/index.html"} {
		page, err := os.ReadFile(clientDirectory + "/examples/" + file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(file)), string(page))
	}
	if _, err := tool(t, "esbuild", clientDirectory+"/examples/react/main.jsx", "--bundle", "--format=esm", "--jsx=automatic", "--outfile="+dir+"/main.js",
		"--alias:tidings="+clientDirectory+"/tidings.js"); err != nil {
		t.Fatal(err)
	}
	pages := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer pages.Close()
	browser := browsertest.Start(t)

	plain := openTab(t, browser)
	plain.do(chromedp.Navigate(pages.URL + "/plain.html?service=http://" + s.addr))
	react := openTab(t, browser)
	react.do(chromedp.Navigate(pages.URL + "/?service=http://" + s.addr))
	plain.await(`document.getElementById('messages').innerText === 'first'`)
	react.await(`document.querySelector('p')?.innerText === 'live: 1 messages'`)
	d.message("second")
	plain.await(`document.getElementById('messages').innerText === 'first\nsecond'`)
	react.await(`[...document.querySelectorAll('button')].map((b) => b.innerText).join() === 'first,second'`)
	evaluate[chromedp.Void](react, `document.querySelector('button').click()`)
	react.await(`document.querySelector('ol')?.innerText === 'its comment'`)
	d.comment(first, "another")
	react.await(`document.querySelector('ol').innerText === 'its comment\nanother'`)
	s.awaitConnections(2) // for all that is shown in a page, one
	evaluate[chromedp.Void](react, `document.querySelector('button').click()`)
	s.awaitSubscriptionsTo("comments", 0)
	d.exec(`delete from messages where title = 'second'`)
	react.await(`document.querySelector('p').innerText === 'live: 1 messages'`)
	plain.await(`document.getElementById('messages').innerText === 'first' && document.getElementById('state').innerText === 'live'`)
	react.expectNoErrors()
	plain.expectNoErrors()

	// A page that hears that there is a network again does not wait for the pause.
	network := newCutter(t, s.addr)
	b := &inBrowser{plain}
	b.run(`import('http://` + s.addr + `/tidings.js').then(({ connect }) => {
		globalThis.client = connect({ url: 'http://` + network.addr + `', backoff: { min: 3_600_000, max: 3_600_000 } });
		return client.subscribe('messages', {}).ready;
	})`)
	network.cutAll()
	plain.await(`client.state === 'offline'`)
	evaluate[bool](plain, `dispatchEvent(new Event('online'))`)
	plain.await(`client.state === 'live'`)
}
