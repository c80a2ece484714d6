package http_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	tidingshttp "tidings/http"
)

// keySet is a JSON Web Key Set that changes.
type keySet struct {
	mu   sync.Mutex
	keys []jwkset.JWKMarshal
}

func (k *keySet) set(t *testing.T, keys map[string]crypto.PublicKey) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = nil
	for kid, key := range keys {
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
		if err != nil {
			t.Fatal(err)
		}
		k.keys = append(k.keys, jwk.Marshal())
	}
}

func (k *keySet) text() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, _ := json.Marshal(map[string]any{"keys": k.keys})
	return text
}

func (k *keySet) ServeHTTP(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(k.text()) }

// signed is a token.
func signed(t *testing.T, method jwt.SigningMethod, key any, kid string, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "auth|7", "iss": "https://issuer.example", "aud": []string{"tidings", "other"}, "exp": time.Now().Add(time.Hour).Unix(),
		"iat": time.Now().Unix(), "team": "a"}
	if change != nil {
		change(claims)
	}
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Tokens are taken that the issuer's keys have signed, for this service, and no others, whatever they say of themselves.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})

	keys := &keySet{}
	keys.set(t, map[string]crypto.PublicKey{"rsa": &rsaKey.PublicKey, "ec": &ecKey.PublicKey, "ed": edPublic})
	server := httptest.NewServer(keys)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, keys.text(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, where := range map[string]string{"by URL": server.URL, "in a file": file} {
		t.Run(name, func(t *testing.T) {
			issuer, err := tidingshttp.PublicKeys(t.Context(), where, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			issuer.Name, issuer.Audience = "https://issuer.example", []string{"tidings"}
			tokens := &tidingshttp.Tokens{Issuer: issuer}
			for what, token := range map[string]string{
				"RS256":   signed(t, jwt.SigningMethodRS256, rsaKey, "rsa", nil),
				"PS384":   signed(t, jwt.SigningMethodPS384, rsaKey, "rsa", nil),
				"ES256":   signed(t, jwt.SigningMethodES256, ecKey, "ec", nil),
				"EdDSA":   signed(t, jwt.SigningMethodEdDSA, edKey, "ed", nil),
				"no kid":  signed(t, jwt.SigningMethodES256, ecKey, "", nil),
				"one aud": signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["aud"] = "tidings" }),
				"skew":    signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-2 * time.Second).Unix() }),
			} {
				id, err := tokens.Authenticate(t.Context(), token)
				if err != nil {
					t.Errorf("%s: %v", what, err)
				} else if id.User != "auth|7" || !strings.Contains(string(id.Claims), `"team":"a"`) || strings.Contains(string(id.Claims), `"exp"`) {
					t.Errorf("%s: got %+v %s", what, id, id.Claims)
				}
			}
			none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "1", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
			if err != nil {
				t.Fatal(err)
			}
			right := signed(t, jwt.SigningMethodRS256, rsaKey, "rsa", nil)
			for what, c := range map[string]struct{ token, says string }{
				"alg none":                {none, "not signed"},
				"a public key as secret":  {signed(t, jwt.SigningMethodHS256, public, "rsa", nil), "not signed"},
				"der as secret":           {signed(t, jwt.SigningMethodHS256, der, "", nil), "not signed"},
				"another key of the name": {signed(t, jwt.SigningMethodRS256, strange, "rsa", nil), "not signed"},
				"the key of another":      {signed(t, jwt.SigningMethodRS256, rsaKey, "ec", nil), "not signed"},
				"a key of no name":        {signed(t, jwt.SigningMethodRS256, strange, "", nil), "not signed"},
				"expired":                 {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }), "expired"},
				"without end":             {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { delete(c, "exp") }), "missing"},
				"not yet":                 {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Hour).Unix() }), "not valid yet"},
				"from the future":         {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["iat"] = time.Now().Add(time.Hour).Unix() }), "future"},
				"another audience":        {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["aud"] = "else" }), "audience"},
				"no audience":             {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { delete(c, "aud") }), "audience"},
				"another issuer":          {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["iss"] = "https://else.example" }), "issuer"},
				"no issuer":               {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { delete(c, "iss") }), "missing"},
				"no user":                 {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { delete(c, "sub") }), "names no user"},
				"a user that is a number": {signed(t, jwt.SigningMethodES256, ecKey, "ec", func(c jwt.MapClaims) { c["user"] = 7; delete(c, "sub") }), "names no user"},
				"nonsense":                {"a.b.c", "no JSON Web Token"},
				"nothing in between":      {"..", "no JSON Web Token"},
				"cut off":                 {right[:len(right)-10], "not signed"},
				"changed":                 {strings.Replace(right, ".", ".e", 1), "JSON Web Token"},
				"huge":                    {strings.Repeat("x", 20000), "more than"},
			} {
				id, err := tokens.Authenticate(t.Context(), c.token)
				if err == nil || id != nil {
					t.Errorf("%s: taken, as %+v", what, id)
				} else if !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: got %q, want %q", what, err, c.says)
				}
			}
		})
	}
	if _, err := tidingshttp.PublicKeys(t.Context(), filepath.Join(t.TempDir(), "nothing"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there")
	}
}

// A key that is new is known as soon as a token names it, and one that was taken away is not taken for ever.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	old, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := &keySet{}
	keys.set(t, map[string]crypto.PublicKey{"old": &old.PublicKey})
	server := httptest.NewServer(keys)
	defer server.Close()
	issuer, err := tidingshttp.PublicKeys(t.Context(), server.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	tokens := &tidingshttp.Tokens{Issuer: issuer}
	if _, err := tokens.Authenticate(t.Context(), signed(t, jwt.SigningMethodES256, old, "old", nil)); err != nil {
		t.Fatal(err)
	}
	keys.set(t, map[string]crypto.PublicKey{"new": &next.PublicKey})
	if _, err := tokens.Authenticate(t.Context(), signed(t, jwt.SigningMethodES256, next, "new", nil)); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if _, err := tokens.Authenticate(t.Context(), signed(t, jwt.SigningMethodES256, old, "old", nil)); err == nil {
		t.Error("the old key is still taken")
	}
}

// The service's own tokens and an issuer's are told apart by who says to have issued them, and each is held up to the key of that one.
func TestOwnAndOthersTokens(t *testing.T) {
	t.Parallel()
	own := &tidingshttp.Signer{Secret: []byte(secret)}
	const shared = "another secret that has 32 bytes, too"
	revoked := map[string]bool{}
	tokens := &tidingshttp.Tokens{
		Own: own, Issuer: tidingshttp.SharedSecret([]byte(shared)),
		Revoked: func(user, session string, _ time.Time) (bool, error) { return revoked[user] || revoked[session], nil },
	}
	tokens.Issuer.UserClaim = "email"
	mine, _, err := own.Sign(7, "s1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	theirs := func(change func(jwt.MapClaims)) string {
		return signed(t, jwt.SigningMethodHS512, []byte(shared), "", func(c jwt.MapClaims) {
			c["email"] = "ada@example.org"
			if change != nil {
				change(c)
			}
		})
	}
	check := func(what, token, user string) {
		t.Helper()
		id, err := tokens.Authenticate(t.Context(), token)
		switch {
		case user == "" && err == nil:
			t.Errorf("%s: taken, as %q", what, id.User)
		case user != "" && (err != nil || id.User != user):
			t.Errorf("%s: got %+v, %v", what, id, err)
		}
	}
	check("own", mine, "7")
	check("theirs", theirs(nil), "ada@example.org")
	check("theirs that says to be ours", theirs(func(c jwt.MapClaims) { c["iss"], c["aud"], c["sid"], c["sub"] = "tidings", "tidings", "s", "7" }), "")
	check("ours that says to be theirs", signed(t, jwt.SigningMethodHS256, []byte(secret), "", func(c jwt.MapClaims) { c["email"] = "x" }), "")
	revoked["s1"], revoked["ada@example.org"] = true, true
	check("own, revoked", mine, "")
	check("theirs, revoked", theirs(nil), "")
}

func TestIdentityOfSeconds(t *testing.T) {
	t.Parallel()
	issuer := tidingshttp.SharedSecret([]byte(secret))
	tokens := &tidingshttp.Tokens{Issuer: issuer}
	id, err := tokens.Authenticate(t.Context(), signed(t, jwt.SigningMethodHS256, []byte(secret), "", func(c jwt.MapClaims) { c["iat"] = 1700000000.25 }))
	if err != nil || !id.Issued.Equal(time.Unix(1700000000, 250_000_000)) {
		t.Errorf("got %+v, %v", id, err)
	}
}

// Ids of 64 bits stay what they are on their way to policies.
func TestNumbersInClaims(t *testing.T) {
	t.Parallel()
	tokens := &tidingshttp.Tokens{Issuer: tidingshttp.SharedSecret([]byte(secret))}
	id, err := tokens.Authenticate(t.Context(), signed(t, jwt.SigningMethodHS256, []byte(secret), "", func(c jwt.MapClaims) { c["tenant"] = int64(1152921504606846977) }))
	if err != nil || !strings.Contains(string(id.Claims), `"tenant":1152921504606846977`) || id.Expires.IsZero() {
		t.Errorf("got %+v, %v", id, err)
	}
}
