package http_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ways are those by which a token comes. On WebSockets that are there already it is not the first.
func (h *hostile) ways() map[string]func(token string) said {
	h.t.Helper()
	own := "http://" + h.addr
	cookie := func(token string) http.Header { return http.Header{"Cookie": {"tidings_token=" + token}} }
	query := func(path, token string) string { return path + "token=" + url.QueryEscape(token) }
	first := func(path string) func(token string) said {
		var c *client
		n := 0
		return func(token string) said {
			if n++; n%90 == 1 { // a hundred frames in a row that make no sense are a reason to be sent away
				_, ws := h.socket(path, nil)
				c = &client{t: h.t, ws: ws}
			}
			c.send(mustJSON(h.t, map[string]string{"type": "authenticate", "token": token}))
			f := c.next()
			return said{codeOf(f.text), f.text, 0}
		}
	}
	renewing := h.graphInit()
	begun := 0
	init := func(token, protocol, field string) said {
		_, ws := h.socket("/graphql", nil, protocol)
		c := &graphClient{client{t: h.t, ws: ws}}
		c.send(`{"type":"connection_init","payload":{"` + field + `":` + mustJSON(h.t, token) + `}}`)
		return goodbyeOf(h.t, ws)
	}
	opened := func(path string, header http.Header) said {
		s, ws := h.socket(path, header)
		if ws != nil {
			return goodbyeOf(h.t, ws)
		}
		return s
	}
	body := `{"query":"{ liveCursor }"}`
	return map[string]func(token string) said{
		"/ws, header":           func(token string) said { return opened("/ws", authorization(token)) },
		"/ws, query":            func(token string) said { return opened(query("/ws?", token), nil) },
		"/ws, cookie":           func(token string) said { return opened("/ws", cookie(token)) },
		"/ws, cookie of a page": func(token string) said { return opened("/ws", with(cookie(token), "Origin", own)) },
		"/ws/events, header":    func(token string) said { return opened("/ws/events", authorization(token)) },
		"/ws, frame":            first("/ws"),
		"/ws/events, frame":     first("/ws/events"),
		"/events, header":       func(token string) said { return h.stream("/events?channel=messages", authorization(token)) },
		"/events, query":        func(token string) said { return h.stream(query("/events?channel=messages&", token), nil) },
		"/events, cookie": func(token string) said {
			return h.stream("/events?channel=messages", with(cookie(token), "Origin", allowedOrigin))
		},
		"/channels, header": func(token string) said { return h.http("GET", "/channels/messages", "", authorization(token)) },
		"/channels, query":  func(token string) said { return h.http("GET", query("/channels/messages?", token), "", nil) },
		"/graphql, header":  func(token string) said { return h.http("POST", "/graphql", body, authorization(token)) },
		"/graphql, query": func(token string) said {
			return h.http("GET", query("/graphql?query=%7BliveCursor%7D&", token), "", nil)
		},
		"/graphql, stream": func(token string) said {
			return h.http("POST", "/graphql", body, with(authorization(token), "Accept", "text/event-stream"))
		},
		"/graphql, connection_init":     func(token string) said { return init(token, transportWS, "Authorization") },
		"/graphql, old connection_init": func(token string) said { return init(token, legacyWS, "token") },
		"/graphql, renewToken": func(token string) said {
			begun++
			id := fmt.Sprint(begun)
			renewing.begin(id, `mutation ($t: String!) { renewToken(input: {token: $t}) { expiresAt } }`, map[string]any{"t": token})
			f := renewing.expect("next")
			renewing.expect("complete")
			return said{codeOf(f.text), f.text, 0}
		},
		"/auth/sign-out": func(token string) said { return h.http("POST", "/auth/sign-out", `{}`, authorization(token)) },
		"/auth/password": func(token string) said {
			return h.http("POST", "/auth/password", `{"currentPassword":"correct horse","newPassword":"battery staple"}`, authorization(token))
		},
	}
}

// unpacked makes a token of its parts.
func unpacked(header, claims map[string]any, sign func(text string) []byte) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(header) + "." + part(claims)
	if sign == nil {
		return text + "."
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

// forgeries are tokens that nobody is to be let in with.
func (h *hostile) forgeries(evil string) map[string]string {
	t := h.t.(*testing.T)
	strange, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&h.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	now := time.Now()
	right := h.issued(nil)
	part := strings.Split(right, ".")
	claims := func(iss string) map[string]any {
		return map[string]any{"sub": "1", "iss": iss, "aud": "tidings", "sid": "s", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	}
	const issuer = "https://issuer.example"
	tokens := map[string]string{
		"another signature":       part[0] + "." + part[1] + "." + strings.Split(h.issued(func(c jwt.MapClaims) { c["sub"] = "2" }), ".")[2],
		"other claims":            part[0] + "." + strings.Split(h.issued(func(c jwt.MapClaims) { c["sub"] = "2" }), ".")[1] + "." + part[2],
		"no signature":            part[0] + "." + part[1] + ".",
		"two parts":               part[0] + "." + part[1],
		"four parts":              right + ".x",
		"expired":                 h.issued(func(c jwt.MapClaims) { c["exp"] = now.Add(-time.Minute).Unix() }),
		"expired long ago":        h.issued(func(c jwt.MapClaims) { c["exp"] = -1 }),
		"ends in no number":       h.issued(func(c jwt.MapClaims) { c["exp"] = "tomorrow" }),
		"without end":             h.issued(func(c jwt.MapClaims) { delete(c, "exp") }),
		"not yet":                 h.issued(func(c jwt.MapClaims) { c["nbf"] = now.Add(time.Hour).Unix() }),
		"of the future":           h.issued(func(c jwt.MapClaims) { c["iat"] = now.Add(time.Hour).Unix() }),
		"another audience":        h.issued(func(c jwt.MapClaims) { c["aud"] = "else" }),
		"an audience that begins": h.issued(func(c jwt.MapClaims) { c["aud"] = []string{"tidings.example", "Tidings", "tidings "} }),
		"another issuer":          h.issued(func(c jwt.MapClaims) { c["iss"] = issuer + ".evil.example" }),
		"public key as secret":    signed(t, jwt.SigningMethodHS256, public, "rsa", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"DER as secret":           signed(t, jwt.SigningMethodHS256, der, "rsa", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"modulus as secret":       signed(t, jwt.SigningMethodHS512, h.key.N.Bytes(), "", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"nothing as secret":       signed(t, jwt.SigningMethodHS256, []byte{}, "../../../../dev/null", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"a strange key":           signed(t, jwt.SigningMethodRS256, strange, "rsa", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"a strange key, unnamed":  signed(t, jwt.SigningMethodPS512, strange, "", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"kid of SQL":              signed(t, jwt.SigningMethodRS256, strange, "x' union select 'secret", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"kid of a URL":            signed(t, jwt.SigningMethodRS256, strange, evil, func(c jwt.MapClaims) { c["sub"] = "1" }),

		"ours, by the issuer":         h.issued(func(c jwt.MapClaims) { c["iss"], c["aud"], c["sid"] = "tidings", "tidings", "s" }),
		"the issuer's, by ours":       signed(t, jwt.SigningMethodHS256, []byte(secret), "", func(c jwt.MapClaims) { c["sub"] = "1" }),
		"ours, by another HMAC":       signed(t, jwt.SigningMethodHS512, []byte(secret), "", func(c jwt.MapClaims) { c["sub"], c["iss"], c["aud"], c["sid"] = "1", "tidings", "tidings", "s" }),
		"ours, for the issuer":        signed(t, jwt.SigningMethodHS256, []byte(secret), "", func(c jwt.MapClaims) { c["sub"], c["iss"], c["aud"], c["sid"] = "1", "tidings", issuer, "s" }),
		"ours, of no session":         signed(t, jwt.SigningMethodHS256, []byte(secret), "", func(c jwt.MapClaims) { c["sub"], c["iss"], c["aud"] = "1", "tidings", "tidings" }),
		"ours, by a secret too short": signed(t, jwt.SigningMethodHS256, []byte(secret[:31]), "", func(c jwt.MapClaims) { c["sub"], c["iss"], c["aud"], c["sid"] = "1", "tidings", "tidings", "s" }),
		"a session that was ended":    h.gone.AccessToken,
		"a refresh token":             h.boris.RefreshToken,
		"huge":                        strings.Repeat("x", 20_000),
		"2,000 claims":                h.issued(func(c jwt.MapClaims) { each(2000, func(i int) { c[fmt.Sprint("claim", i)] = i }) }),
		"claims 3,000 deep": h.issued(func(c jwt.MapClaims) {
			c["deep"] = json.RawMessage(strings.Repeat("[", 3000) + strings.Repeat("]", 3000))
		}),
		"objects 100 deep": h.issued(func(c jwt.MapClaims) {
			c["deep"] = json.RawMessage(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100))
		}),
		"NUL in a claim":        h.issued(func(c jwt.MapClaims) { c["name"] = []any{"a\x00b"} }),
		"NUL in a claim's name": h.issued(func(c jwt.MapClaims) { c["a\x00b"] = true }),
		"words":                 "null",
		"SQL":                   "1--",
	}
	for _, sub := range []any{"1\x00", "1; drop table users", "1' or '1'='1", "1\nforged=line", "1\r\nSet-Cookie: a=b", " 1", "+1", "01", "1.0", "1e0", "0x1", "-1", "0",
		"9223372036854775808", "\u202e1", "١", "", 1, nil, true, []string{"1"}, map[string]any{"$gt": ""}} {
		tokens[fmt.Sprintf("sub %#v", sub)] = h.issued(func(c jwt.MapClaims) { c["sub"] = sub })
	}
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, "HS256", "RS256 ", 1} {
		for _, iss := range []string{issuer, "tidings"} {
			header := map[string]any{"alg": alg, "typ": "JWT", "kid": "rsa"}
			tokens[fmt.Sprintf("alg %#v of %s", alg, iss)] = unpacked(header, claims(iss), nil)
			tokens[fmt.Sprintf("alg %#v of %s, with a signature", alg, iss)] = unpacked(header, claims(iss), func(string) []byte { return []byte("x") })
		}
	}
	jwk := map[string]any{"kty": "RSA", "kid": "mine", "n": base64.RawURLEncoding.EncodeToString(strange.N.Bytes()), "e": "AQAB"}
	for name, value := range map[string]any{"jku": evil, "x5u": evil, "jwk": jwk, "x5c": []string{base64.StdEncoding.EncodeToString(der)}, "kid": []any{"rsa"}} {
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims(issuer)))
		token.Header["kid"] = "mine"
		token.Header[name] = value
		text, err := token.SignedString(strange)
		if err != nil {
			t.Fatal(err)
		}
		tokens["header "+name] = text
	}
	return tokens
}

func each(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// Nobody is let in with a token that is none of ours, by whatever way it comes.
func (h *hostile) tokens() {
	var asked atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer evil.Close()
	ways := h.ways()
	before, attempts := h.counted("unauthenticated"), 0
	for what, token := range h.forgeries(evil.URL) {
		for way, try := range ways {
			said := try(token)
			if what == "a session that was ended" && way == "/auth/sign-out" {
				continue // which is as it should be
			}
			attempts++
			wrong := said.code != "unauthenticated" || said.status != 0 && said.status != http.StatusUnauthorized && said.status != 4006
			if way == "/graphql, connection_init" { // whose goodbye has no reason of its own
				wrong = said.status != 4403
			}
			if wrong {
				h.t.Errorf("%s by %s: got %+v", what, way, said)
			}
			hidden := []string{token}
			if parts := strings.Split(token, "."); len(parts) > 1 && len(parts[1]) > 20 {
				hidden = append(hidden, parts[1], "drop table", "forged", "auth|")
			}
			if len(token) > 8 {
				h.quiet(h.t.(*testing.T), said.text, hidden...)
			}
		}
	}
	if got := h.counted("unauthenticated") - before; got != attempts {
		h.t.Errorf("%d refusals are counted, of %d", got, attempts)
	}
	if n := asked.Load(); n != 0 {
		h.t.Errorf("a key was fetched from where a token says, %d times", n)
	}
	// What a token may say.
	for what, token := range map[string]string{
		"many claims": h.issued(func(c jwt.MapClaims) { each(500, func(i int) { c[fmt.Sprint("c", i)] = i }) }),
		"a page":      h.issued(func(c jwt.MapClaims) { c["name"] = "</script><script>alert(1)</script>\r\nx: y" }),
	} {
		if said := h.http("GET", "/channels/messages", "", authorization(token)); said.status != http.StatusOK {
			h.t.Errorf("%s: got %+v", what, said)
		}
	}
	h.t.Logf("%d attempts", attempts)
}

// A token is of use for what it is of, and for nothing else.
func (h *hostile) sessions() {
	before := h.counted("unauthenticated")
	attempts := []said{
		h.http("POST", "/auth/refresh", refreshBody(h.boris.AccessToken), nil),
		h.http("POST", "/auth/refresh", refreshBody(h.gone.RefreshToken), nil),
		h.http("POST", "/auth/refresh", refreshBody(h.issued(nil)), nil),
		h.http("POST", "/auth/refresh", refreshBody("' or true --"), nil),
		h.http("POST", "/auth/refresh", `{"refreshToken":"\u0000"}`, nil),
		h.http("POST", "/auth/refresh", refreshBody(strings.Repeat("x", 10_000)), nil),
		h.http("POST", "/auth/sign-out", `{"everywhere":true}`, authorization(h.gone.AccessToken)),
		h.http("POST", "/auth/sign-out", `{"everywhere":true}`, authorization(h.issued(nil))),
		h.http("POST", "/auth/sign-out", `{"everywhere":true,"refreshToken":"`+h.boris.AccessToken+`"}`, nil),
		h.http("POST", "/auth/password", `{"currentPassword":"correct horse","newPassword":"battery staple"}`, authorization(h.issued(nil))),
		h.http("POST", "/auth/password", `{"currentPassword":"correct horse","newPassword":"battery staple"}`, authorization(h.gone.AccessToken)),
		h.http("POST", "/auth/sign-in", `{"username":"boris' --","password":"x"}`, nil),
		h.http("POST", "/graphql", `{"query":"mutation { signOut(input: {everywhere: true}) { everywhere } }"}`, authorization(h.issued(nil))),
	}
	for i, said := range attempts {
		if said.code != "unauthenticated" {
			h.t.Errorf("%d: got %+v", i, said)
		}
		h.quiet(h.t.(*testing.T), said.text)
	}
	if got := h.counted("unauthenticated") - before; got != len(attempts) {
		h.t.Errorf("%d refusals are counted, of %d", got, len(attempts))
	}
}
