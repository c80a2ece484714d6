package http_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"tidings/realtime"
)

// What is somebody else's is not told, whatever one knows of it.
func (h *hostile) others() {
	boris, eve := "notifications:"+h.boris.User.ID, "notifications:"+h.eve.User.ID
	his := h.dialAs(h.boris.AccessToken, boris)
	cursor := his.expect("subscribed").Cursor
	before := h.counted("forbidden")
	forbidden := map[string]func() said{
		"/ws": func() said {
			c := h.dialAs(h.eve.AccessToken, boris)
			f := c.next()
			return said{codeOf(f.text), f.text, 0}
		},
		"/ws, since": func() said {
			c := h.dialAs(h.eve.AccessToken)
			c.subscribe(boris, cursor)
			f := c.next()
			return said{codeOf(f.text), f.text, 0}
		},
		"/events": func() said {
			return h.stream("/events?channel="+boris+"&since="+cursor, authorization(h.eve.AccessToken))
		},
		"/events, of two":   func() said { return h.stream("/events?snapshot=true&channel="+boris, authorization(h.eve.AccessToken)) },
		"/channels":         func() said { return h.http("GET", "/channels/"+boris, "", authorization(h.eve.AccessToken)) },
		"/channels, nobody": func() said { return h.http("GET", "/channels/notifications", "", nil) },
		"typing": func() said {
			c := h.dialAs(h.eve.AccessToken)
			c.send(`{"type":"typing","channel":"` + boris + `"}`)
			f := c.next()
			return said{codeOf(f.text), f.text, 0}
		},
		"broadcast": func() said {
			return h.http("POST", "/graphql", `{"query":"mutation { broadcast(input: {channel: \"messages\", type: \"x\"}) { type } }"}`, authorization(h.eve.AccessToken))
		},
		"disconnect": func() said {
			return h.http("POST", "/graphql", `{"query":"mutation { disconnectUser(input: {user: \"1\", revoke: true}) { user } }"}`, authorization(h.eve.AccessToken))
		},
	}
	for what, try := range forbidden {
		said := try()
		if said.code != "forbidden" || said.status >= 300 && said.status != http.StatusForbidden {
			h.t.Errorf("%s: got %+v", what, said)
		}
		h.quiet(h.t.(*testing.T), said.text)
	}
	if got := h.counted("forbidden") - before; got != len(forbidden) {
		h.t.Errorf("%d refusals are counted, of %d", got, len(forbidden))
	}

	// With his cursor she is told of what is hers, and what was his stays his.
	hers := h.dialAs(h.eve.AccessToken)
	for _, channel := range []string{"notifications", eve} {
		hers.subscribe(channel, cursor)
		hers.expect("subscribed")
	}
	h.d.exec(`insert into comments (message_id, author_id, content) values (1, 1, 'attacked, @boris')`)
	his.expect("notification_added")
	hers.send(`{"type":"ping"}`)
	hers.expect("pong")
	h.d.exec(`delete from comments`) // and with them the notification

	// Nobody speaks in another's name.
	listener := h.dial("comments:2")
	hers.send(`{"type":"typing","channel":"comments:2","data":{"user":"1"}}`)
	hers.expectError("bad_json")
	hers.send(`{"type":"typing","channel":"comments:2","user":"1"}`)
	hers.expectError("bad_json")
	hers.send(`{"type":"typing","channel":"comments:2"}`)
	if f := listener.expect("typing"); string(f.Data) != `{"user":"`+h.eve.User.ID+`"}` {
		h.t.Errorf("got %s", f.text)
	}
	for _, c := range []*client{his, hers, listener} {
		_ = c.ws.Close()
	}
}

// A page of another origin has no use of the cookies that a browser sends along.
func (h *hostile) pages() {
	cookie := cookieHeader(&http.Cookie{Name: "tidings_token", Value: h.boris.AccessToken}, &http.Cookie{Name: "tidings_refresh", Value: h.boris.RefreshToken})
	const me = `{"query":"{ me { id } }"}`
	before, attempts := h.counted("origin_not_allowed")+h.counted("forbidden"), 0
	for _, origin := range []string{
		"https://evil.example", "null", allowedOrigin + ".evil.example", "https://evil" + strings.TrimPrefix(allowedOrigin, "https://"), allowedOrigin + ":8443",
		"http://app.example", allowedOrigin + "@evil.example", "https://evil.example/" + allowedOrigin, "http://127.0.0.1.evil.example", "http://localhost.evil.example",
		"file://", "chrome-extension://abcdef", "http://" + h.addr + ".evil.example", "http://evil.example#" + h.addr, "http://" + h.addr + "@evil.example", "//", "*", "%00",
	} {
		header := with(cookie, "Origin", origin)
		for _, path := range []string{"/ws?channel=messages", "/ws/events", "/graphql"} {
			attempts++
			said, ws := h.socket(path, header, transportWS)
			if ws != nil || said.code != "origin_not_allowed" || said.status != http.StatusForbidden {
				h.t.Errorf("%s of %q: got %+v", path, origin, said)
			}
		}
		for what, said := range map[string]said{
			"/events":        h.stream("/events?channel=messages", header),
			"/channels":      h.http("GET", "/channels/messages", "", header),
			"/graphql":       h.http("POST", "/graphql", me, header),
			"/graphql, GET":  h.http("GET", "/graphql?query=%7Bme%7Bid%7D%7D", "", header),
			"/graphql, text": h.http("POST", "/graphql", me, with(header, "Content-Type", "text/plain")),
			"/auth/refresh":  h.http("POST", "/auth/refresh", `{}`, header),
			"/auth/sign-out": h.http("POST", "/auth/sign-out", `{"everywhere":true}`, header),
			"/auth/sign-in":  h.http("POST", "/auth/sign-in", `{"username":"eve","password":"correct horse","cookie":true}`, header),
		} {
			attempts++
			if said.status != http.StatusForbidden || said.code != "origin_not_allowed" && said.code != "forbidden" {
				h.t.Errorf("%s of %q: got %+v", what, origin, said)
			}
			h.quiet(h.t.(*testing.T), said.text)
		}
	}
	if got := h.counted("origin_not_allowed") + h.counted("forbidden") - before; got != attempts {
		h.t.Errorf("%d refusals are counted, of %d", got, attempts)
	}
	// Who may connect may not act for the user, unless it is allowed by its name; nor may a request that says where it is from.
	for _, header := range []http.Header{
		with(cookie, "Origin", "http://localhost:3000"), with(cookie, "Sec-Fetch-Site", "cross-site"), with(cookie, "Sec-Fetch-Site", "same-site"),
		with(cookie, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"),
	} {
		for what, c := range map[string]struct {
			said said
			code string
		}{
			"a mutation":        {h.http("POST", "/graphql", `{"query":"mutation { createMessage(input: {title: \"x\", content: \"x\"}) { message { id } } }"}`, header), "unauthenticated"},
			"a load":            {h.http("GET", "/channels/notifications", "", header), "forbidden"},
			"a stream":          {h.stream("/events?channel=notifications", header), "forbidden"},
			"a refresh":         {h.http("POST", "/auth/refresh", `{}`, header), "unauthenticated"},
			"a sign-out":        {h.http("POST", "/auth/sign-out", `{}`, header), "unauthenticated"},
			"another's sign-in": {h.http("POST", "/auth/sign-in", `{"username":"eve","password":"correct horse","cookie":true}`, header), "forbidden"},
		} {
			if c.said.code != c.code {
				h.t.Errorf("%s by %v: got %+v", what, header, c.said)
			}
		}
	}
}

// What a form can send without being asked for leave is not taken.
func (h *hostile) simple() {
	cookie := cookieHeader(&http.Cookie{Name: "tidings_token", Value: h.boris.AccessToken}, &http.Cookie{Name: "tidings_refresh", Value: h.boris.RefreshToken})
	const mutation = `{"query":"mutation { createMessage(input: {title: \"x\", content: \"x\"}) { message { id } } }"}`
	for _, media := range []string{"text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
		"application/graphql", "application/json; charset=utf-7", "application/json, text/plain", "x", " "} {
		header := with(cookie, "Content-Type", media)
		for path, body := range map[string]string{"/graphql": mutation, "/auth/refresh": `{}`, "/auth/sign-out": `{"everywhere":true}`,
			"/auth/sign-in": `{"username":"boris","password":"correct horse","cookie":true}`} {
			if said := h.http("POST", path, body, header); said.status != http.StatusUnsupportedMediaType || said.code != "bad_request" {
				h.t.Errorf("%s as %q: got %+v", path, media, said)
			}
		}
	}
	query := "/graphql?query=" + url.QueryEscape(`mutation { createMessage(input: {title: "x", content: "x"}) { message { id } } }`)
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "MKCOL"} {
		if said := h.http(method, query, "", authorization(h.boris.AccessToken)); said.status != http.StatusMethodNotAllowed {
			h.t.Errorf("%s: got %+v", method, said)
		}
	}
	if said := h.http("GET", query, "", with(authorization(h.boris.AccessToken), "Accept", "text/event-stream")); said.status != http.StatusMethodNotAllowed {
		h.t.Errorf("by a stream: got %+v", said)
	}
	for _, path := range []string{"/auth/sign-out", "/auth/refresh", "/auth/sign-in?username=boris&password=x"} {
		if said := h.http("GET", path, "", cookie); said.status != http.StatusMethodNotAllowed {
			h.t.Errorf("GET %s: got %+v", path, said)
		}
	}
}

// nasty are names, keys and texts that mean something to somebody.
var nasty = []string{
	`x'; drop table users; --`, `x"; drop table users; --`, `$$; drop table users; $$`, `\'; drop table users`, `x' or '1'='1`, `%s%n%x`, `%`, `_`, `\`, `\\`, `''`, `""`,
	"a\x00b", "a\r\nSet-Cookie: a=b", "a\n\ndata: {}", "a\u2028b", "\u202eabc", "\ufeff", "\xff\xfe", "a\xc0\xaf", strings.Repeat("x", 513), strings.Repeat("é", 60_00),
	`<script>alert(1)</script>`, `../../etc/passwd`, `pg_catalog.pg_authid`, `tidings.settings`, `{"$ne":1}`, `*`, `#`, `>`, `messages,users`, `MESSAGES`, ` messages`, `messages `,
}

// Text of clients is text, wherever it comes.
func (h *hostile) names() {
	t := h.t.(*testing.T)
	codes := []string{"bad_channel", "unknown_channel", "bad_request", "bad_json", "bad_frame"}
	c := h.dialAs(h.boris.AccessToken)
	check := func(what, name string, s said, more ...string) {
		t.Helper()
		if !slices.Contains(append(codes, more...), s.code) {
			t.Errorf("%s %.100q: got %+v", what, name, s)
		}
		h.quiet(t, s.text)
	}
	say := func(command string) said {
		c.send(command)
		f := c.next()
		return said{codeOf(f.text), f.text, 0}
	}
	for _, name := range nasty {
		check("subscribe", name, say(mustJSON(t, map[string]string{"type": "subscribe", "channel": name})))
		check("switch", name, say(mustJSON(t, map[string]string{"type": "switch", "channel": name})))
		check("typing", name, say(mustJSON(t, map[string]string{"type": "typing", "channel": name})))
		check("a type", name, say(mustJSON(t, map[string]string{"type": name})), "unknown_command")
		check("a raw frame", name, say(`{"type":"subscribe","channel":"`+name+`"}`))
		check("a field", name, say(mustJSON(t, map[string]string{"type": "ping", name: "x"})))
		check("/events", name, h.stream("/events?channel="+url.QueryEscape(name), nil))
		check("a parameter", name, h.http("GET", "/channels/messages?"+url.QueryEscape(name)+"=1", "", nil))
		for _, parameter := range []string{"order", "after", "limit"} {
			check(parameter, name, h.http("GET", "/channels/messages?"+parameter+"="+url.QueryEscape(name), "", nil))
		}
		place, _ := json.Marshal([]string{name})
		check("a place", name, h.http("GET", "/channels/messages?after="+base64.RawURLEncoding.EncodeToString(place), "", nil))
		if said := h.http("GET", "/channels/"+url.PathEscape(name), "", nil); said.status < 300 || said.status > 404 {
			t.Errorf("/channels/%.100q: got %+v", name, said)
		}
		// A key that is none has no rows, and no events.
		if realtime.MaxChannelName > len(name)+10 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl) {
			s := h.http("GET", "/channels/messages:"+url.PathEscape(name), "", nil)
			if s.status != http.StatusOK && s.status/100 != 3 || s.status == http.StatusOK && !strings.Contains(s.text, `"rows":[]`) {
				t.Errorf("a key %q: got %+v", name, s)
			}
		}
		for _, since := range []string{name, "x-" + name} {
			f := h.dialAs("")
			f.subscribe("messages", since)
			if said := f.next(); said.Type != "reset" && !slices.Contains(codes, said.Code) {
				t.Errorf("since %.100q: got %s", name, said.text)
			}
			_ = f.ws.Close()
		}
		// GraphQL
		for document, empty := range map[string]string{
			`query ($x: String!) { messages(filter: {text: $x}) { nodes { id } } }`: `{"data":{"messages":{"nodes":[]}}}`,
			`query ($x: String!) { messages(after: $x) { nodes { id } } }`:          "",
			`query ($x: ID!) { message(id: $x) { id } }`:                            `{"data":{"message":null}}`,
			`query ($x: String!) { users(filter: {text: $x}) { nodes { id } } }`:    `{"data":{"users":{"nodes":[]}}}`,
			`query ($x: ID!) { messages(filter: {authorId: $x}) { nodes { id } } }`: `{"data":{"messages":{"nodes":[]}}}`,
		} {
			s := h.http("POST", "/graphql", mustJSON(t, graphRequest{Query: document, Variables: map[string]any{"x": "peace" + name}}), nil)
			if s.code == "" && strings.TrimSpace(s.text) != empty || s.code != "" && !slices.Contains([]string{"bad_user_input", "graphql_validation_failed", "unprocessable"}, s.code) {
				t.Errorf("%s with %.100q: got %+v", document, name, s)
			}
			h.quiet(t, s.text)
		}
	}
	_ = c.ws.Close()
	for _, name := range []string{"a\x00b", "a\r\nSet-Cookie:a=b", "a\x1b[2Jb", "a\u2028b", "\u202eabc", "\ufeff", "a\u200bb", strings.Repeat("é", 65)} {
		if s := h.http("POST", "/auth/sign-up", mustJSON(t, map[string]string{"username": name, "password": "correct horse battery"}), nil); s.code != "bad_user_input" {
			t.Errorf("signed up as %q: %+v", name, s)
		}
		h.http("POST", "/auth/sign-in", mustJSON(t, map[string]string{"username": name, "password": "wrong"}), nil)
	}
	for _, line := range strings.Split(h.log.String(), "\n") {
		if line != "" && !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log is %.200q", line)
		}
	}
	for _, value := range []string{"x'--", `"`, "0-0", "x-1-2-3", strings.Repeat("9", 5000)} {
		e, err := h.openEvents("HTTP/1.1", "/events?channel=messages", http.Header{"Last-Event-Id": {value}})
		if err != nil {
			t.Fatal(err)
		}
		e.expect("reset")
		e.close()
	}
}

// What is told cannot end a message and begin another.
func (h *hostile) frames() {
	t := h.t.(*testing.T)
	follow := h.events("HTTP/1.1", "channel=comments:77", "")
	follow.expect("subscribed")
	socket := h.dial("comments:77")
	const forged = "x\n\ndata: {\"type\":\"forged\"}\n\nid: forged\r\n\r\nevent: forged\r\u2028\u2029</script>\x1b[2J"
	data := mustJSON(t, map[string]string{"text": forged, forged: "x"})
	taken := []string{"row", "error", "message_added", "goodbye", "typing"}
	admin := h.issued(func(c jwt.MapClaims) { c["sub"] = h.boris.User.ID })
	h.d.exec(`update users set role = 'admin' where id = $1`, h.boris.User.ID)
	for _, kept := range []bool{true, false} {
		document := fmt.Sprintf(`mutation ($data: JSON!) { broadcast(input: {channel: "comments:77", type: "said", data: $data, kept: %t}) { type } }`, kept)
		body := fmt.Sprintf(`{"query":%s,"variables":{"data":%s}}`, mustJSON(t, document), data)
		if s := h.http("POST", "/graphql", body, authorization(admin)); s.code != "" {
			t.Fatalf("got %+v", s)
		}
		// With white space that means something to a stream.
		h.d.exec(`select tidings.broadcast('comments:77', 'said', $1::text::json, $2)`, strings.ReplaceAll(data, `":"`, "\":\r\n\r\n\""), kept)
		for range 2 {
			for name, f := range map[string]frame{"/events": follow.expect("said"), "/ws": socket.expect("said")} {
				var got map[string]string
				if err := json.Unmarshal(f.Data, &got); err != nil || got["text"] != forged || got[forged] != "x" {
					t.Errorf("%s: got %q, %v", name, f.text, err)
				}
			}
		}
		for _, name := range append(nasty, taken...) {
			document := `mutation ($type: String!) { broadcast(input: {channel: "comments:77", type: $type, kept: true}) { type } }`
			s := h.http("POST", "/graphql", mustJSON(t, graphRequest{Query: document, Variables: map[string]any{"type": name}}), authorization(admin))
			word := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzMESAG_.") == "" && len(name) < 64 && !slices.Contains(taken, name)
			if s.code != "bad_user_input" && !word || s.code != "" && word {
				t.Errorf("type %.100q: got %+v", name, s)
			}
			h.quiet(t, s.text)
			if s.code == "" {
				follow.expect(name)
				socket.expect(name)
			}
		}
	}
	h.d.exec(`update users set role = 'member' where id = $1`, h.boris.User.ID)
	_ = socket.ws.Close()
	follow.close()
}

// slowly has connections send what they send so slowly that it never ends, and returns what waits for them to be cut.
func (h *hostile) slowly() (cut func()) {
	var ended []chan error
	for _, text := range []string{
		"GET /ws HTTP/1.1\r\nHost: x\r\nX-A: ", "GET /", "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
		"POST /auth/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"use",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00",
	} {
		conn, err := elsewhere().DialContext(h.t.Context(), "tcp", h.addr)
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { _ = conn.Close() })
		done := make(chan error, 1)
		ended = append(ended, done)
		go func() {
			defer close(done)
			_ = conn.SetDeadline(time.Now().Add(patience))
			if _, err := conn.Write([]byte(text)); err != nil {
				done <- err
				return
			}
			var b [4096]byte
			for {
				_, err := conn.Read(b[:])
				if err != nil {
					if isTimeout(err) {
						done <- fmt.Errorf("%.20q is waited for: %w", text, err)
					}
					return
				}
			}
		}()
	}
	return func() {
		for _, done := range ended {
			if err := <-done; err != nil {
				h.t.Error(err)
			}
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}
