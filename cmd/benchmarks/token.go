package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signer makes tokens as the service's accounts do, with one claim more.
type signer struct {
	secret string
}

func newSigner() signer { return signer{rand.Text() + rand.Text()} }

// environment tells the service whose tokens it is to take.
func (s signer) environment() string { return "TIDINGS_SECRET=" + s.secret }

// token is that of a user who is in a team.
func (s signer) token(user, team int) (string, error) {
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "tidings", "aud": "tidings", "sub": strconv.Itoa(user), "sid": strconv.Itoa(user), "team": team,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte(s.secret))
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, nil
}

// header is what a client with the token sends.
func (s signer) header(user, team int) (http.Header, error) {
	token, err := s.token(user, team)
	return http.Header{"Authorization": {"Bearer " + token}}, err
}
