package main

import (
	"testing"

	tidingshttp "tidings/http"
)

// The tokens are those that the service takes, and the claim is in them.
func TestSigner(t *testing.T) {
	s := newSigner()
	token, err := s.token(7, 3)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := (&tidingshttp.Signer{Secret: []byte(s.secret)}).Verify(token)
	if err != nil || claims["sub"] != "7" || claims["sid"] == nil || claims["team"] != 3.0 {
		t.Errorf("got %v, %v", claims, err)
	}
	if other := newSigner(); other.secret == s.secret || len(s.secret) < 32 {
		t.Errorf("the secret %q is easily guessed", s.secret)
	}
}
