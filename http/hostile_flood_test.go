package http_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

// What is too large is refused before it costs anything.
func (h *hostile) oversize() {
	t := h.t.(*testing.T)
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	json := http.Header{"Content-Type": {"application/json"}}
	for what, c := range map[string]struct {
		said   said
		status int
		code   string
	}{
		"a URL":             {h.http("GET", "/channels/"+strings.Repeat("x", 200_000), "", nil), 431, ""},
		"a query":           {h.http("GET", "/events?channel="+strings.Repeat("x", 200_000), "", nil), 431, ""},
		"many parameters":   {h.http("GET", "/channels/messages?"+strings.Repeat("x=1&", 12_000), "", nil), 400, "bad_request"},
		"a header":          {h.http("GET", "/channels/messages", "", http.Header{"X": {strings.Repeat("x", 200_000)}}), 431, ""},
		"many headers":      {h.http("GET", "/channels/messages", "", http.Header{"X": slices.Repeat([]string{"y"}, 20_000)}), 431, ""},
		"Authorization":     {h.http("GET", "/channels/messages", "", authorization(strings.Repeat("x", 60_000))), 401, "unauthenticated"},
		"10,000 claims":     {h.http("GET", "/channels/messages", "", authorization(h.issued(func(c jwt.MapClaims) { each(10_000, func(i int) { c[fmt.Sprint("claim", i)] = i }) }))), 431, ""},
		"a cookie":          {h.http("GET", "/channels/messages", "", http.Header{"Cookie": {"tidings_token=" + strings.Repeat("x", 60_000)}}), 401, "unauthenticated"},
		"many cookies":      {h.http("GET", "/channels/messages", "", http.Header{"Cookie": {strings.Repeat("a=b; ", 10_000) + "tidings_token=x"}}), 0, ""},
		"Last-Event-ID":     {h.http("GET", "/events?channel=nothing", "", http.Header{"Last-Event-Id": {strings.Repeat("9", 60_000)}}), 404, "unknown_channel"},
		"a body":            {h.http("POST", "/graphql", `{"query":"`+strings.Repeat("x", 300_000)+`"}`, json), 413, "bad_request"},
		"a deep body":       {h.http("POST", "/graphql", nested(100_000), json), 400, "bad_request"},
		"deep variables":    {h.http("POST", "/graphql", `{"query":"{ liveCursor }","variables":{"a":`+nested(100_000)+`}}`, json), 400, "bad_request"},
		"deep extensions":   {h.http("POST", "/graphql", `{"query":"{ liveCursor }","extensions":{"a":`+nested(50_000)+`}}`, json), 400, "bad_request"},
		"a batch":           {h.http("POST", "/graphql", "["+strings.Repeat(`{"query":"{ liveCursor }"},`, 1000)+`{"query":"{ liveCursor }"}]`, json), 400, "too_many_operations"},
		"a document":        {h.http("POST", "/graphql", `{"query":"`+strings.Repeat("{a", 50_000)+`"}`, json), 200, "query_too_complex"},
		"a sign-in":         {h.http("POST", "/auth/sign-in", `{"username":"`+strings.Repeat("x", 100_000)+`"}`, json), 413, "bad_request"},
		"a deep sign-in":    {h.http("POST", "/auth/sign-in", strings.Repeat(`{"username":`, 1200), json), 400, "bad_request"},
		"a deeper sign-up":  {h.http("POST", "/auth/sign-up", `{"username":`+nested(8000)+`}`, json), 400, "bad_request"},
		"a deepest refresh": {h.http("POST", "/auth/refresh", strings.Repeat("[", 16_000), json), 400, "bad_request"},
		"a password":        {h.http("POST", "/auth/sign-in", `{"username":"nobody","password":"`+strings.Repeat("x", 2000)+`"}`, json), 400, "bad_user_input"},
	} {
		if c.status != 0 && (c.said.status != c.status || c.said.code != c.code) {
			t.Errorf("%s: got %.500v", what, c.said)
		}
		h.quiet(t, c.said.text)
	}
	before := h.counted("frame_too_large")
	c := h.dialDeflate("/ws")
	for command, code := range map[string]string{
		`{"type":"subscribe","channel":` + nested(20_000) + `}`: "bad_json",
		nested(32_000): "bad_json",
		`{"type":"` + strings.Repeat("x", 60_000) + `"}`:                        "unknown_command",
		`{"type":"authenticate","token":"` + strings.Repeat("x", 60_000) + `"}`: "unauthenticated",
	} {
		c.send(command)
		c.expectError(code)
	}
	raw := h.dialRawBy(elsewhere(), "/ws")
	raw.send(true, opText, strings.Repeat("x", 64<<10+1))
	if f := raw.frame(); f.Code != "frame_too_large" {
		t.Errorf("got %s", f.text)
	}
	raw.send(false, opText, "x")
	for range 1000 { // it has no end
		raw.send(false, opContinuation, "")
	}
	for range 18 {
		raw.send(false, opContinuation, strings.Repeat("x", 60<<10))
	}
	raw.expectClose(1009, "frame_too_large")
	announced := h.dialRawBy(elsewhere(), "/ws")
	announced.write(append([]byte{0x81, 0xFF, 0x7F}, bytes.Repeat([]byte{0xFF}, 11)...)) // 2^63 - 1 bytes
	announced.expectClose(1009, "frame_too_large")
	bomb := h.dialRawBy(elsewhere(), "/ws", offer)
	bomb.write(deflatedFrame(true, opText, deflated(strings.Repeat("x", 20<<20))))
	bomb.expectClose(1009, "frame_too_large")
	if got := h.counted("frame_too_large") - before; got != 4 {
		t.Errorf("%d refusals are counted, of 4", got)
	}
	nonsense := h.dialRawBy(elsewhere(), "/ws")
	nonsense.write(bytes.Repeat(maskedFrame(true, opText, []byte("x")), 100))
	for closed := false; !closed; {
		op, payload, err := nonsense.read()
		if err != nil {
			t.Fatal(err)
		}
		if closed = op == opClose; closed && !strings.Contains(string(payload), "bad_frames") {
			t.Errorf("got %q", payload)
		}
	}
	for i := range 100 {
		c.subscribe(fmt.Sprint("messages:", 1000+i), "")
		c.expect("subscribed")
	}
	c.subscribe("messages:9999", "")
	c.expectError("too_many_channels")
	g := h.graphInit()
	for i := range 100 {
		g.begin(fmt.Sprint(i), `subscription { messageUpdated(messageId: 1) { id } }`, nil)
	}
	g.begin("more", `{ liveCursor }`, nil)
	g.expectFailure("more", "TOO_MANY_OPERATIONS")
	for _, code := range []string{"too_many_channels", "too_many_operations", "bad_frames"} {
		if h.counted(code) < 1 {
			t.Errorf("%s is not counted", code)
		}
	}
	_, _ = c.ws.Close(), g.ws.Close()
	for _, r := range []*rawClient{raw, announced, bomb, nonsense} {
		_ = r.conn.Close()
	}
}

// floods come from one address, and are its own concern.
func (h *hostile) floods() {
	t := h.t.(*testing.T)
	flooder := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if c, err := flooder.DialContext(t.Context(), "tcp", h.addr); err != nil {
		t.Skip("this machine has no further address: ", err)
	} else {
		_ = c.Close()
	}
	h.floodOfConnections(flooder)
	h.floodOfCommands()
	h.floodOfGuesses(flooder)
}

func (h *hostile) floodOfConnections(flooder *net.Dialer) {
	const each, workers = 250, 8
	before := h.counted(tooManyFromAddress)
	var mu sync.Mutex
	var held []*websocket.Conn
	var refused atomic.Int64
	var flood sync.WaitGroup
	dialer := websocket.Dialer{NetDialContext: flooder.DialContext, HandshakeTimeout: patience}
	for range workers {
		flood.Go(func() {
			for range each {
				ws, response, err := dialer.DialContext(context.WithoutCancel(h.t.Context()), h.url("ws", "/ws?channel=messages"), nil)
				switch {
				case err == nil:
					mu.Lock()
					held = append(held, ws)
					mu.Unlock()
				case response != nil && response.StatusCode == http.StatusTooManyRequests:
					refused.Add(1)
				default:
					h.t.Errorf("got %v", err)
				}
			}
		})
	}
	flood.Wait()
	if got := h.counted(tooManyFromAddress) - before; len(held) != 50 || int(refused.Load()) != each*workers-50 || got != each*workers-50 {
		h.t.Errorf("%d were let in, and %d refused, %d as is counted", len(held), refused.Load(), got)
	}
	for _, ws := range held {
		_ = ws.Close()
	}
}

func (h *hostile) floodOfCommands() {
	const n = 10_000
	before := h.counted("rate_limited")
	c := h.dialRawBy(elsewhere(), "/ws")
	var sending sync.WaitGroup
	sending.Go(func() {
		ping := bytes.Repeat(maskedFrame(true, opText, []byte(`{"type":"ping"}`)), 100)
		for range n / 100 {
			if _, err := c.conn.Write(ping); err != nil {
				h.t.Error(err)
				return
			}
		}
	})
	done, refused := 0, 0
	for done+refused < n {
		switch f := c.frame(); {
		case f.Type == "pong":
			done++
		case f.Code == "rate_limited":
			refused++
		default:
			h.t.Fatalf("got %s", f.text)
		}
	}
	sending.Wait()
	if got := h.counted("rate_limited") - before; done < 500 || got != refused || refused < n/2 {
		h.t.Errorf("%d commands were done, and %d refused, %d as is counted", done, refused, got)
	}
	_ = c.conn.Close()
}

func (h *hostile) floodOfGuesses(flooder *net.Dialer) {
	const each, workers = 400, 5
	before := h.counted("too_many_attempts") + h.counted("unauthenticated")
	transport := &http.Transport{DialContext: flooder.DialContext, MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	var guessed, refused atomic.Int64
	var flood sync.WaitGroup
	for worker := range workers {
		flood.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"username":"user%d","password":"guess %d"}`, i, worker)
				request, err := http.NewRequestWithContext(context.WithoutCancel(h.t.Context()), "POST", h.url("http", "/auth/sign-in"), strings.NewReader(body))
				if err != nil {
					h.t.Error(err)
					return
				}
				request.Header.Set("Content-Type", "application/json")
				response, err := client.Do(request)
				if err != nil {
					h.t.Error(err)
					return
				}
				text := readAll(h.t, response.Body)
				_ = response.Body.Close()
				switch {
				case response.StatusCode == http.StatusUnauthorized && codeOf(text) == "unauthenticated":
					guessed.Add(1)
				case response.StatusCode == http.StatusTooManyRequests && codeOf(text) == "too_many_attempts" && response.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					h.t.Errorf("got %d %s", response.StatusCode, text)
				}
			}
		})
	}
	flood.Wait()
	if got := h.counted("too_many_attempts") + h.counted("unauthenticated") - before; guessed.Load() > 120 || got != each*workers {
		h.t.Errorf("%d guesses were made, and %d refused, %d as is counted", guessed.Load(), refused.Load(), got)
	}
	// From elsewhere one signs in. (The session is a new row, which is taken back.)
	sessions := query[[]string](h.d, `select array_agg(id::text) from sessions`)
	s := h.http("POST", "/auth/sign-in", `{"username":"eve","password":"correct horse"}`, nil)
	if s.status != http.StatusOK {
		h.t.Errorf("got %+v", s)
	}
	h.d.exec(`delete from sessions where id::text <> all ($1)`, sessions)
}

// unknownKeys has tokens name keys that the issuer does not have: its keys are fetched now and then, and not for each, and those who have
// theirs are not kept waiting.
func (h *hostile) unknownKeys() {
	t := h.t.(*testing.T)
	strange, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	begun, fetched, before := time.Now(), h.fetched.Load(), h.counted("unauthenticated")
	const each, workers = 400, 5
	tokens := make([]string, 0, each*workers)
	one := signed(t, jwt.SigningMethodRS256, strange, "unknown", nil)
	signature := one[strings.LastIndexByte(one, '.'):]
	for i := range each * workers {
		head, _, _ := strings.Cut(unpacked(map[string]any{"alg": "RS256", "kid": fmt.Sprint("unknown", i)}, map[string]any{"sub": "1"}, nil), "..")
		tokens = append(tokens, strings.TrimSuffix(head, ".")+signature)
	}
	right := h.issued(nil)
	var flood sync.WaitGroup
	for worker := range workers {
		flood.Go(func() {
			for _, token := range tokens[worker*each : (worker+1)*each] {
				if s := h.http("GET", "/channels/messages?limit=1", "", authorization(token)); s.code != "unauthenticated" {
					t.Errorf("got %+v", s)
					return
				}
			}
		})
	}
	slowest := time.Duration(0)
	ended := make(chan struct{})
	go func() {
		flood.Wait()
		close(ended)
	}()
	for done := false; !done; {
		at := time.Now()
		if s := h.http("GET", "/channels/messages?limit=1", "", authorization(right)); s.status != http.StatusOK {
			t.Fatalf("got %+v", s)
		}
		slowest = max(slowest, time.Since(at))
		select {
		case <-ended:
			done = true
		default:
		}
	}
	often, most := h.fetched.Load()-fetched, int64(time.Since(begun)/(5*time.Second))+1
	t.Logf("the keys were fetched %d times in %s; a right token took %s at most", often, time.Since(begun), slowest)
	if often > most || slowest > patience/2 {
		t.Errorf("the keys were fetched %d times in %s; a right token took %s", often, time.Since(begun), slowest)
	}
	if got := h.counted("unauthenticated") - before; got != len(tokens) {
		t.Errorf("%d refusals are counted, of %d", got, len(tokens))
	}
}
