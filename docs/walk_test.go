package docs_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidings/db/dbtest"
)

// walk goes through a document as a reader does who has it beside three terminals:
//
//   - sh is typed in, sql given to psql. The word behind that names the terminal; where there is none, it is the one in which one writes.
//   - console is what the terminal prints then. ^C alone is Ctrl-C.
//   - What has the name of a file is written to it, but for text: that is what a browser shows of the file, which a terminal serves by then.
//
// What runs goes on where its output is shown; everything else is waited for, has to succeed, and to print what is shown and no more.
type walk struct {
	t         testing.TB
	document  string
	dir       string
	env       []string
	database  string // the URL of the reader's database
	service   *relay
	files     *relay // a web server of the reader's
	python    string
	terminals map[string]*terminal
	open      func(url string) (text func() string) // opens a page in a browser
	pages     map[string]func() string
}

func (w *walk) run(blocks []block) {
	w.t.Helper()
	for i, b := range blocks {
		where := fmt.Sprintf("%s:%d", w.document, b.line)
		switch {
		case b.lang == "text" && strings.Contains(b.name, "."):
			w.look(where, b)
		case strings.Contains(b.name, "."):
			if err := os.WriteFile(filepath.Join(w.dir, b.name), []byte(w.here(b.text)), 0o600); err != nil {
				w.t.Fatal(err)
			}
		case b.lang == "console" && b.text == "^C\n":
			w.terminal(b.name).interrupt(where)
		case b.lang == "console" && b.name != "":
			w.terminal(b.name).expect(where, lines(b.text))
		case b.lang == "console":
			if _, err := compare(lines(b.text), lines(w.terminal("").printed()), false); err != nil {
				w.t.Fatalf("%s: %v", where, err)
			}
		case b.name == "" && slices.Contains([]string{"js", "python", "mermaid", "json", "ini", "nginx", "caddyfile", "yaml"}, b.lang):
			// It is looked at.
		case b.lang == "sh", b.lang == "sql":
			var shown *block
			if i+1 < len(blocks) && blocks[i+1].lang == "console" && blocks[i+1].name == b.name {
				shown = &blocks[i+1]
			}
			w.do(where, b, shown)
		default:
			w.t.Fatalf("%s: what is to be done with a block of %q?", where, b.lang)
		}
	}
}

func (w *walk) do(where string, b block, shown *block) {
	w.t.Helper()
	term := w.terminal(b.name)
	if term.running() {
		w.t.Fatalf("%s: in terminal %q something still runs", where, b.name)
	}
	script := b.text
	if b.lang == "sql" {
		// Where an error is shown, there has to be one.
		stop := shown == nil || !strings.Contains("\n"+shown.text, "\nERROR: ")
		script = fmt.Sprintf("psql -X -v ON_ERROR_STOP=%t \"$DATABASE_URL\" <<'.'\n%s.\n", stop, script)
	}
	term.begin(w.here(script))
	if b.name != "" && shown != nil {
		return // it may go on
	}
	got := term.finish(where)
	if shown == nil && got != "" {
		w.t.Fatalf("%s: it prints what is not shown:\n%s", where, got)
	}
	if shown != nil && onlyReads.MatchString(b.text) {
		// What it shows may be some milliseconds behind what was done before: who reads looks once more.
		term.await(where, "what is shown", func() bool {
			if _, err := compare(lines(shown.text), lines(got), false); err == nil {
				return true
			}
			term.begin(w.here(script))
			got = term.finish(where)
			return false
		})
	}
}

// onlyReads matches what may be done again.
var onlyReads = regexp.MustCompile(`^curl -s [^\n]*\n$`)

// look waits until a page shows what it should.
func (w *walk) look(where string, b block) {
	w.t.Helper()
	if w.pages[b.name] == nil {
		w.pages[b.name] = w.open("http://" + w.files.address + "/" + b.name)
	}
	shown, got := strings.TrimSpace(b.text), ""
	defer func() {
		if got != shown {
			w.t.Logf("the page shows\n%s", got)
		}
	}()
	w.terminal("").await(where, "in the page\n"+shown, func() bool {
		got = strings.TrimSpace(w.pages[b.name]())
		return got == shown
	})
}

func (w *walk) terminal(name string) *terminal {
	w.t.Helper()
	if w.terminals[name] == nil {
		w.terminals[name] = openTerminal(w.t, name, w.dir, w.env, func(text string) {
			w.service.follow(text, serviceAddress)
			w.files.follow(text, filesAddress)
		})
	}
	return w.terminals[name]
}

// walked are the documents that are walked through.
var walked = map[string]bool{
	"getting-started.md": true, "clients.md": true, "operations.md": true, "from-pg_eventserv.md": true, "from-strawberry.md": true,
	"from-supabase-realtime.md": true,
}

// What is not done to the letter, since others do it at the same time, in the same places.
func (w *walk) here(text string) string {
	return strings.NewReplacer(
		"postgres://you@localhost/shop", "'"+w.database+"'", // with an ampersand in it
		"postgres://postgres@db.abcdefgh.supabase.co/postgres", "'"+w.database+"'",
		"postgres://live@localhost/shop", "'"+strings.Replace(w.database, "user=tidings", "user=live", 1)+"'",
		"127.0.0.1:8080", w.service.address,
		"http.server 8000", "http.server 0",
		"python3 ", w.python+" ",
		// It is built already, and is not to be built into the reader's clone.
		"make build\n", `make -n -C "$CLONE" build | grep -e ' -o bin/tidings ' >/dev/null`+"\n",
	).Replace(text)
}

var (
	serviceAddress = regexp.MustCompile(`msg=live address=(127\.0\.0\.1:\d+)`)
	filesAddress   = regexp.MustCompile(`Serving HTTP on 127\.0\.0\.1 port \d+ \(http://(127\.0\.0\.1:\d+)/`)
)

// relay is an address that stays the same, whichever one the program behind it has chosen.
type relay struct {
	address string
	mu      sync.Mutex
	behind  string
}

// follow leads to the address that a program says last.
func (r *relay) follow(text string, says *regexp.Regexp) {
	if all := says.FindAllStringSubmatch(text, -1); len(all) > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.behind = all[len(all)-1][1]
	}
}

func startRelay(t testing.TB) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: listener.Addr().String()}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			serving.Go(func() { r.lead(front) })
		}
	})
	return r
}

// lead carries what is said until either end has closed its connection.
func (r *relay) lead(front net.Conn) {
	defer front.Close()
	r.mu.Lock()
	behind := r.behind
	r.mu.Unlock()
	back, err := net.Dial("tcp", behind)
	if err != nil {
		return // nobody is there: the client finds that out
	}
	defer back.Close()
	var carrying sync.WaitGroup
	carrying.Go(func() {
		_, _ = io.Copy(back, front)
		_ = back.Close()
	})
	_, _ = io.Copy(front, back)
	_ = front.Close()
	carrying.Wait()
}

// newWalk prepares a place for a document's reader: a PostgreSQL, and a clone of this repository with the program in it.
func newWalk(t testing.TB, document string) *walk {
	t.Helper()
	clone, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	cluster := dbtest.StartCluster(t, nil)
	w := &walk{
		t: t, document: document, dir: t.TempDir(), python: "python3", service: startRelay(t), files: startRelay(t),
		terminals: make(map[string]*terminal), pages: make(map[string]func() string),
	}
	for link, to := range map[string]string{"bin/tidings": tidings, "docs": filepath.Join(clone, "docs")} {
		link = filepath.Join(w.dir, link)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	w.env = append(environ(t, cluster.URL()),
		"CLONE="+clone,
		"LC_ALL=C.UTF-8",
		"TIDINGS_LISTEN=127.0.0.1:0",
		"TIDINGS_SERVER=http://"+w.service.address,
		"PYTHONUNBUFFERED=1",
		"GORACE=atexit_sleep_ms=10", // the race detector waits a second, unless it is told not to
	)
	shop, err := url.Parse(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	shop.Path = "/shop"
	w.database = shop.String()
	return w
}

// environ is an environment in which nothing is configured but where PostgreSQL is, and PostgreSQL's programs are found.
func environ(t testing.TB, address string) []string {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var programs string
	if err := conn.QueryRow(t.Context(), `select setting from pg_config() where name = 'BINDIR'`).Scan(&programs); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"PATH=" + os.Getenv("PATH") + string(filepath.ListSeparator) + programs,
		"PGHOST=" + config.Host, fmt.Sprintf("PGPORT=%d", config.Port), "PGUSER=" + config.User,
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != "PATH" && !strings.HasPrefix(name, "TIDINGS_") && !strings.HasPrefix(name, "PG") && name != "DATABASE_URL" {
			env = append(env, v)
		}
	}
	return env
}
