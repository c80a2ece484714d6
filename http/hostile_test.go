package http_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// hostile is a service that has it all – accounts of its own, an issuer with public keys, row security, compression – and is attacked
// while others go on.
type hostile struct {
	*service
	d          *database
	log        *logged
	key        *rsa.PrivateKey // the issuer's
	fetched    *atomic.Int64   // how often its keys were
	boris, eve signedIn
	gone       signedIn // of a session that was ended
}

// allowedOrigin is the one that may connect, and whose pages' cookies count.
const allowedOrigin = "https://app.example"

// Whoever attacks is refused, with a code, and counted; is told nothing that is not his business; changes nothing; and is noticed by nobody
// else.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	goroutines := runtime.NumGoroutine()
	slow := h.slowly()
	peace := h.follow()
	for _, attack := range []struct {
		name string
		run  func(h *hostile)
	}{
		{"tokens", (*hostile).tokens}, {"sessions", (*hostile).sessions}, {"what is another's", (*hostile).others},
		{"pages of others", (*hostile).pages}, {"simple requests", (*hostile).simple}, {"names", (*hostile).names},
		{"frames of streams", (*hostile).frames}, {"oversize", (*hostile).oversize}, {"floods", (*hostile).floods}, {"unknown keys", (*hostile).unknownKeys},
	} {
		before := h.fingerprint()
		t.Run(attack.name, func(t *testing.T) {
			own := *h
			own.service = h.in(t)
			attack.run(&own)
			h.quiet(t, h.log.String())
		})
		for table, after := range h.fingerprint() {
			if before[table] != after {
				t.Errorf("%s: %s was %q, and is %q", attack.name, table, before[table], after)
			}
		}
	}
	slow()
	told, slowest := peace()
	t.Logf("all were told of %d rows, after %s at the latest", told, slowest)
	if told < 20 || slowest > patience/2 {
		t.Errorf("others were told of %d rows, after %s at the latest", told, slowest)
	}
	plain.CloseIdleConnections()
	h.awaitConnections(0)
	h.awaitSubscriptions(0)
	// The test's own, and other tests', come and go: what is left over of thousands would be more.
	eventually(t, "the goroutines of the attacks are gone", func() bool { return runtime.NumGoroutine() < goroutines+1000 })
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	d := newDatabase(t)
	d.exec(`create table notes (id serial primary key, owner text, body text);
		alter table notes enable row level security;
		create policy own on notes for select using (owner = tidings.user_id());
		select tidings.watch('notes')`)
	h := &hostile{d: d, log: new(logged), fetched: new(atomic.Int64)}
	var err error
	if h.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	keys := &keySet{}
	keys.set(t, map[string]crypto.PublicKey{"rsa": &h.key.PublicKey})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fetched.Add(1)
		keys.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	issuer, err := tidingshttp.PublicKeys(t.Context(), server.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	issuer.Name, issuer.Audience = "https://issuer.example", []string{"tidings"}
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	h.service = start(t, d.url, options{accounts: accounts, issuer: issuer, logger: h.log.logger(), graph: &graph.Options{},
		server: tidingshttp.Options{AllowedOrigins: []string{allowedOrigin}, MaxConnectionsPerAddress: 50, CompressMinBytes: 100}})
	h.boris = h.signs("sign-up", `{"username":"boris","password":"correct horse"}`, nil)
	h.eve = h.signs("sign-up", `{"username":"eve","password":"correct horse"}`, nil)
	h.gone = h.signs("sign-in", `{"username":"boris","password":"correct horse"}`, nil)
	h.done("sign-out", `{}`, authorization(h.gone.AccessToken))
	eventually(t, "the session's end is heard of", func() bool {
		return h.http("GET", "/channels/messages", "", authorization(h.gone.AccessToken)).status == http.StatusUnauthorized
	})
	h.d.exec(`delete from sessions where expires_at <= now()`) // as would be when the next one begins
	return h
}

// issued is a token of the issuer's.
func (h *hostile) issued(change func(jwt.MapClaims)) string {
	h.t.Helper()
	return signed(h.t.(*testing.T), jwt.SigningMethodRS256, h.key, "rsa", func(c jwt.MapClaims) {
		c["sub"] = "1"
		if change != nil {
			change(c)
		}
	})
}

// follow has some follow, by each transport, rows that are written one after another, each when all have been told of the one before. What
// it returns ends that, and says how many there were and how long the slowest took.
func (h *hostile) follow() (end func() (told int, slowest time.Duration)) {
	h.t.Helper()
	messages, notes := h.dial("messages"), h.dialAs(h.issued(nil), "notes")
	notes.expect("subscribed")
	events := h.events("HTTP/1.1", "channel=messages", "")
	events.expect("subscribed")
	gql := h.graphInit()
	gql.follow(h.service, "1", `subscription ($since: String) { messageAdded(since: $since) { title } }`)

	// Each says the text of the row that it is told of.
	readers := map[string]func() (string, error){
		"/ws":                  func() (string, error) { return textOfRow(readFrame(messages.ws)) },
		"/ws, by row security": func() (string, error) { return textOfRow(readFrame(notes.ws)) },
		"/events":              func() (string, error) { return textOfRow(events.read()) },
		"/graphql":             func() (string, error) { return textOfResult(gql.read()) },
	}
	told := make(map[string]chan string)
	for name, read := range readers {
		texts := make(chan string, 16)
		told[name] = texts
		go func() {
			defer close(texts)
			for {
				text, err := read()
				if err != nil {
					return // its end is missed, if it is early
				}
				if text != "" {
					texts <- text
				}
			}
		}()
	}
	stop, done := make(chan struct{}), make(chan struct{})
	n, slowest := 0, time.Duration(0)
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			text := fmt.Sprint("peaceful ", n)
			begun := time.Now()
			for _, sql := range []string{`insert into messages (author_id, title, content) values (1, $1, 'peaceful')`, `insert into notes (owner, body) values ('1', $1)`} {
				if _, err := h.d.pool.Exec(context.WithoutCancel(h.t.Context()), sql, text); err != nil {
					h.t.Error(err)
					return
				}
			}
			for name, texts := range told {
				timer := time.NewTimer(patience)
				select {
				case got := <-texts:
					if got != text {
						h.t.Errorf("%s: told %q, want %q", name, got, text)
						return
					}
				case <-timer.C:
					h.t.Errorf("%s: not told of %q", name, text)
					return
				}
				timer.Stop()
			}
			slowest = max(slowest, time.Since(begun))
			n++
		}
	}()
	return func() (int, time.Duration) {
		close(stop)
		<-done
		_, _, _ = messages.ws.Close(), notes.ws.Close(), gql.ws.Close()
		events.close()
		for name, texts := range told {
			for text := range texts {
				h.t.Errorf("%s: told %q once more", name, text)
			}
		}
		return n, slowest
	}
}

// fingerprint is what stands in the database, but for what is written meanwhile by who is peaceful.
func (h *hostile) fingerprint() map[string]string {
	h.t.Helper()
	print := make(map[string]string)
	tables := query[[]string](h.d, `select array_agg(format('%I.%I', schemaname, tablename) order by 1) from pg_tables
		where schemaname in ('public', 'tidings') and tablename !~ '^(log(_|$)|eras$|positions$|home$|instances$|presence_instances$)'`)
	for _, table := range tables {
		print[table] = query[string](h.d, `select count(*) || ' ' || md5(coalesce(string_agg(x::text, ' ' order by x::text), ''))
			from `+table+` as x where x::text !~ 'peaceful'`)
	}
	print["objects"] = query[string](h.d, `select (select count(*) from pg_class) || ' ' || (select count(*) from pg_proc)`)
	return print
}

// quiet looks for what nobody is to be told, nor to find in a log.
func (h *hostile) quiet(t *testing.T, text string, secrets ...string) {
	t.Helper()
	secrets = append(secrets, secret, "correct horse", "SQLSTATE", "ERROR:", "goroutine ", ".go:", "pgconn", "panic", "argon2",
		h.boris.RefreshToken, h.boris.AccessToken, h.eve.RefreshToken, h.eve.AccessToken)
	for _, hidden := range secrets {
		if at := strings.Index(text, hidden); at >= 0 {
			t.Errorf("%.60q is in %.300q", hidden, text[max(0, at-100):])
		}
	}
}

// counted is how often something was refused with the code.
func (h *hostile) counted(code string) int {
	h.t.Helper()
	_, body := h.readyz()
	return body.Refused[code]
}

// said is what an attempt came to: a code, or "" if it was let in; and all that was answered.
type said struct {
	code, text string
	status     int
}

// socket opens a WebSocket, and returns what comes first, if it is a refusal.
func (h *hostile) socket(path string, header http.Header, protocols ...string) (said, *websocket.Conn) {
	h.t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: protocols, NetDialContext: elsewhere().DialContext}
	ws, response, err := dialer.DialContext(h.t.Context(), h.url("ws", path), header)
	if err != nil {
		if response == nil {
			h.t.Fatal(err)
		}
		text := readAll(h.t, response.Body)
		return said{codeOf(text), text, response.StatusCode}, nil
	}
	h.t.Cleanup(func() { _ = ws.Close() })
	return said{}, ws
}

// elsewhere dials from one of many addresses of this machine, where it has them: who has just gone may still have a connection.
func elsewhere() *net.Dialer {
	n := dialed.Add(1)
	if runtime.GOOS != "linux" {
		return new(net.Dialer)
	}
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))}}
}

var dialed atomic.Int32

// goodbyeOf is the server's on a WebSocket, or what else it says.
func goodbyeOf(t testing.TB, ws *websocket.Conn) said {
	t.Helper()
	defer ws.Close()
	f, err := readFrame(ws)
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		code, _, _ := strings.Cut(closed.Text, ":")
		return said{code, closed.Text, closed.Code}
	}
	if err != nil {
		t.Fatal(err)
	}
	return said{codeOf(f.text), f.text, 0}
}

// http sends a request.
func (h *hostile) http(method, path, body string, header http.Header) said {
	h.t.Helper()
	all := http.Header{}
	maps.Copy(all, header)
	if method == "POST" && all.Get("Content-Type") == "" {
		all.Set("Content-Type", "application/json")
	}
	a := h.send(method, path, strings.NewReader(body), all)
	return said{codeOf(a.body), a.body, a.status}
}

// stream opens a stream, and returns what is answered instead.
func (h *hostile) stream(path string, header http.Header) said {
	h.t.Helper()
	e, err := h.openEvents("HTTP/1.1", path, with(header))
	if err != nil {
		h.t.Fatal(err)
	}
	defer e.close()
	if e.status == http.StatusOK {
		return said{status: e.status}
	}
	text := readAll(h.t, e.body)
	return said{codeOf(text), text, e.status}
}

func with(header http.Header, more ...string) http.Header {
	all := header.Clone()
	if all == nil {
		all = http.Header{}
	}
	for i := 0; i < len(more); i += 2 {
		all.Set(more[i], more[i+1])
	}
	return all
}

// codeOf is the first code in an answer.
func codeOf(text string) string {
	if found := codes.FindStringSubmatch(text); found != nil {
		return strings.ToLower(found[1])
	}
	return ""
}

var codes = regexp.MustCompile(`"code":"(\w+)"`)

func readAll(t testing.TB, body io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// textOfRow is that of the row of an event, "" of a frame that is none.
func textOfRow(f frame, err error) (string, error) {
	if err != nil || f.Type == "cursor" {
		return "", err
	}
	if f.Type != "message_added" && f.Type != "note_added" {
		return "got " + f.text, nil
	}
	var data struct{ Title, Body string }
	err = unmarshal(f, &data)
	return data.Title + data.Body, err
}

// textOfResult is the same of a subscription.
func textOfResult(f graphFrame, err error) (string, error) {
	if err != nil || f.Type == "ping" {
		return "", err
	}
	var result struct {
		Data struct{ MessageAdded struct{ Title string } }
	}
	if err := json.Unmarshal(f.Payload, &result); err != nil {
		return "", err
	}
	if f.Type != "next" || result.Data.MessageAdded.Title == "" {
		return "got " + f.text, nil
	}
	return result.Data.MessageAdded.Title, nil
}
