package main

import (
	"strings"
	"testing"
)

// A secret that will not do is refused, and not printed.
func TestShortSecrets(t *testing.T) {
	t.Parallel()
	for flag, c := range map[string]*serveCmd{
		"--secret":     {Listen: ":8080", Secret: "12345", JWT: jwtFlags{UserClaim: "sub"}},
		"--jwt-secret": {Listen: ":8080", JWT: jwtFlags{Secret: "12345", UserClaim: "sub"}},
	} {
		err := c.JWT.Validate()
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.HasPrefix(err.Error(), flag+": it has 5 bytes") || strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}
