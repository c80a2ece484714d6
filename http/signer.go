package http

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ownIssuer is the issuer of the service's own access tokens, and their audience.
const ownIssuer = "tidings"

// minSecret is the length in bytes of a secret that is not easily guessed.
const minSecret = 32

// Signer makes the service's own access tokens, JSON Web Tokens that are signed with a secret by HS256, and reads them.
type Signer struct {
	Secret []byte        // 32 bytes at least
	TTL    time.Duration // how long a token is valid; 15 min
}

// Sign makes a token of a user's session.
func (s *Signer) Sign(userID int64, session string, now time.Time) (token string, expires time.Time, err error) {
	if len(s.Secret) < minSecret {
		return "", time.Time{}, fmt.Errorf("sign a token: the secret has %d bytes, and needs %d", len(s.Secret), minSecret)
	}
	ttl := s.TTL
	if ttl == 0 {
		ttl = 15 * time.Minute
	}
	expires = now.Add(ttl).Truncate(time.Second)
	// A session that begins in the second in which others were ended is not one of them: iat has milliseconds.
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": ownIssuer, "aud": ownIssuer, "sub": strconv.FormatInt(userID, 10), "sid": session, "jti": rand.Text(),
		"iat": float64(now.UnixMilli()) / 1000, "exp": expires.Unix(),
	}).SignedString(s.Secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token: %w", err)
	}
	return token, expires, nil
}

// Verify returns the claims of a token that this service has made and that is valid now; the error is for its sender.
func (s *Signer) Verify(token string) (map[string]any, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(ownIssuer), jwt.WithAudience(ownIssuer),
		jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Second)).
		ParseWithClaims(token, claims, func(*jwt.Token) (any, error) {
			if len(s.Secret) < minSecret {
				return nil, errors.New("there is no secret")
			}
			return s.Secret, nil
		})
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, errors.New("it has expired")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return nil, errors.New("it is no JSON Web Token")
	}
	return nil, errors.New("it is not signed by this service")
}

// session returns whose a valid token is, of which session, and until when.
func (s *Signer) session(token string) (userID int64, session string, expires time.Time, err error) {
	claims, err := s.Verify(token)
	if err != nil {
		return 0, "", time.Time{}, err
	}
	subject, _ := claims["sub"].(string)
	session, _ = claims["sid"].(string)
	userID, err = strconv.ParseInt(subject, 10, 64)
	if err != nil || userID <= 0 || session == "" {
		return 0, "", time.Time{}, errors.New("it is not of a session")
	}
	seconds, _ := claims["exp"].(float64) // has been verified
	return userID, session, time.Unix(int64(seconds), 0), nil
}
