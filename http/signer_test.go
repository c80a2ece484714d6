package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	tidingshttp "tidings/http"
)

func TestSigner(t *testing.T) {
	t.Parallel()
	s := &tidingshttp.Signer{Secret: []byte(secret)}
	now := time.Now()
	signed, expires, err := s.Sign(7, "session", now)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := s.Verify(signed)
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "7" || claims["sid"] != "session" || claims["iss"] != "tidings" || claims["aud"] != "tidings" || claims["jti"] == "" ||
		claims["exp"] != float64(expires.Unix()) || expires.Sub(now) > 15*time.Minute || expires.Sub(now) < 15*time.Minute-time.Second {
		t.Errorf("the claims are %v", claims)
	}
	if iat, _ := claims["iat"].(float64); math.Abs(iat-float64(now.UnixMilli())/1000) > 0.0005 {
		t.Errorf("iat is %v, want %d ms", claims["iat"], now.UnixMilli())
	}
	if _, err := (&tidingshttp.Signer{Secret: []byte("short")}).Verify(signed); err == nil {
		t.Error("a short secret verifies")
	}
	if _, _, err := (&tidingshttp.Signer{Secret: []byte("short")}).Sign(1, "s", now); err == nil {
		t.Error("a short secret signs")
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	s := &tidingshttp.Signer{Secret: []byte(secret), TTL: time.Minute}
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "tidings", "aud": "tidings", "sub": "1", "sid": "s", "exp": time.Now().Add(time.Hour).Unix()}
	}
	sign := func(method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
		claims := good()
		change(claims)
		signed, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	if _, err := s.Verify(sign(jwt.SigningMethodHS256, []byte(secret), func(jwt.MapClaims) {})); err != nil {
		t.Fatal(err)
	}
	expired, _, err := s.Sign(1, "s", time.Now().Add(-2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"expired":      expired,
		"no expiry":    sign(jwt.SigningMethodHS256, []byte(secret), func(c jwt.MapClaims) { delete(c, "exp") }),
		"issuer":       sign(jwt.SigningMethodHS256, []byte(secret), func(c jwt.MapClaims) { c["iss"] = "another" }),
		"no issuer":    sign(jwt.SigningMethodHS256, []byte(secret), func(c jwt.MapClaims) { delete(c, "iss") }),
		"audience":     sign(jwt.SigningMethodHS256, []byte(secret), func(c jwt.MapClaims) { c["aud"] = "another" }),
		"no audience":  sign(jwt.SigningMethodHS256, []byte(secret), func(c jwt.MapClaims) { delete(c, "aud") }),
		"other secret": sign(jwt.SigningMethodHS256, []byte(strings.ToUpper(secret)), func(jwt.MapClaims) {}),
		"HS512":        sign(jwt.SigningMethodHS512, []byte(secret), func(jwt.MapClaims) {}),
		"none":         sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, func(jwt.MapClaims) {}),
		"nonsense":     "nonsense",
		"empty":        "",
	} {
		claims, err := s.Verify(token)
		if err == nil {
			t.Errorf("%s: taken, with %v", name, claims)
		} else if name == "expired" != strings.Contains(err.Error(), "expired") || strings.Contains(err.Error(), token) && token != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, change := range []func(jwt.MapClaims){
		func(c jwt.MapClaims) { c["sub"] = "0" }, func(c jwt.MapClaims) { c["sub"] = 1 }, func(c jwt.MapClaims) { delete(c, "sid") },
	} {
		if who, err := (&tidingshttp.Tokens{Own: s}).Authenticate(t.Context(), sign(jwt.SigningMethodHS256, []byte(secret), change)); err == nil {
			t.Errorf("authenticated %+v", who)
		}
	}
}

func TestArgon2(t *testing.T) {
	t.Parallel()
	h := &tidingshttp.Argon2{}
	hash, err := h.Hash(t.Context(), "a long password")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s, %v", hash, err)
	}
	for password, want := range map[string]bool{"a long password": true, "A long password": false, "": false} {
		if right, err := h.Verify(t.Context(), password, hash); right != want || err != nil {
			t.Errorf("%q: got %t, %v", password, right, err)
		}
		if right, err := h.Verify(t.Context(), password, ""); right || err != nil {
			t.Errorf("%q is nobody's password: got %t, %v", password, right, err)
		}
	}
	if _, err := h.Verify(t.Context(), "a long password", "nonsense"); err == nil || strings.Contains(err.Error(), "long") {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ended, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// decode reads JSON.
func decode[T any](t testing.TB, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}
