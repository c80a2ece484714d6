package http

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/http/graph"
)

// Identity is whose a token is. The zero Identity is nobody's.
type Identity struct {
	UserID  int64
	Expires time.Time // zero: never
	Named   bool      // nobody's, and sent by a page of a name that anybody may have given to this machine
}

func (i Identity) viewer() graph.Viewer { return graph.Viewer{UserID: i.UserID, Named: i.Named} }

// Authenticate finds out whose a token is; the error is for its sender.
type Authenticate func(ctx context.Context, token string) (Identity, error)

// JWT returns an Authenticate for JSON Web Tokens that are signed with the secret, by HS256. The subject is the user's id.
func JWT(secret []byte) Authenticate {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Second))
	return func(_ context.Context, token string) (Identity, error) {
		claims := &jwt.RegisteredClaims{}
		_, err := parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return secret, nil })
		switch {
		case errors.Is(err, jwt.ErrTokenExpired):
			return Identity{}, errors.New("it has expired")
		case errors.Is(err, jwt.ErrTokenSignatureInvalid):
			return Identity{}, errors.New("its signature is not by the secret of this service, or not by HS256")
		case errors.Is(err, jwt.ErrTokenMalformed):
			return Identity{}, errors.New("it is no JSON Web Token")
		case err != nil:
			return Identity{}, err
		}
		id, err := strconv.ParseInt(claims.Subject, 10, 64)
		if err != nil || id <= 0 {
			return Identity{}, fmt.Errorf("its subject is %q, and not the id of a user", claims.Subject)
		}
		return Identity{UserID: id, Expires: claims.ExpiresAt.Time}, nil
	}
}
