package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/realtime"
)

// Authenticate finds out whose a token is; the error is for its sender.
type Authenticate func(ctx context.Context, token string) (*realtime.Identity, error)

// Tokens takes JSON Web Tokens: those of an issuer, and those that the service has signed itself.
type Tokens struct {
	// Own are the service's; nil: it signs none.
	Own *Signer
	// Issuer is whose tokens are taken besides; nil: nobody's.
	Issuer *Issuer
	// Users finds the user that an issuer's token names; nil: he is called in the database as he is in the token.
	Users Users
	// Revoked reports whether a token is not to be taken any more; nil: none is.
	Revoked func(user, session string, issued time.Time) (bool, error)
}

// Users finds users by what issuers of tokens call them.
type Users interface {
	// User returns what the user is called in the database. What is wrong with the name is for the token's sender.
	User(ctx context.Context, name string, claims map[string]any) (string, error)
}

// Issuer is somebody who signs tokens.
type Issuer struct {
	// Key finds the key that a token is signed by; Methods are the algorithms that keys of this kind are for, and no others.
	Key     jwt.Keyfunc
	Methods []string
	// Name is to stand in the claim iss; empty: anything may.
	Name string
	// Audience is one of which is to stand in the claim aud; empty: anything may.
	Audience []string
	// Leeway is by how much clocks may differ.
	Leeway time.Duration
	// UserClaim is the claim that names the user; sub.
	UserClaim string
}

// What keys are for, by their kind: so a public key is never taken for a shared secret.
var (
	secretMethods = []string{"HS256", "HS384", "HS512"}
	keyMethods    = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

// SharedSecret is an issuer that signs by HMAC with a secret that the service has as well.
func SharedSecret(secret []byte) *Issuer {
	return &Issuer{Key: func(*jwt.Token) (any, error) { return secret, nil }, Methods: secretMethods, Leeway: defaultLeeway}
}

const defaultLeeway = 5 * time.Second

// transient are the claims that differ from token to token of the same user: policies do not hear of them. (Those that
// tidings.rights leaves out.)
var transient = []string{"exp", "iat", "nbf", "jti", "sid", "session_id", "auth_time", "nonce", "at_hash"}

// maxToken is the length in bytes of a token.
const maxToken = 16 << 10

// Authenticate is an Authenticate.
func (t *Tokens) Authenticate(ctx context.Context, token string) (*realtime.Identity, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("it has more than %d bytes", maxToken)
	}
	claims, own, err := t.claims(token)
	switch {
	case own && err != nil:
		return nil, err
	case err != nil:
		return nil, explainToken(err)
	case !storable(map[string]any(claims), maxClaimDepth):
		return nil, errors.New("its claims cannot be read by the database: they have NUL characters, or are nested too deep")
	}
	name := "sub"
	if !own && t.Issuer.UserClaim != "" {
		name = t.Issuer.UserClaim
	}
	user, _ := claims[name].(string)
	if user == "" {
		return nil, fmt.Errorf("its claim %s names no user", name)
	}
	if id, err := strconv.ParseInt(user, 10, 64); own && (err != nil || id <= 0 || claims["sid"] == nil) {
		return nil, errors.New("it is not of a session")
	}
	if !own && t.Users != nil {
		if user, err = t.Users.User(ctx, user, claims); err != nil {
			return nil, err
		}
	}
	id := &realtime.Identity{User: user, Issued: seconds(claims["iat"]), Expires: seconds(claims["exp"])}
	id.Session, _ = claims["sid"].(string)
	if t.Revoked != nil {
		revoked, err := t.Revoked(id.User, id.Session, id.Issued)
		if err != nil {
			return nil, err
		}
		if revoked {
			return nil, errRevoked
		}
	}
	for _, claim := range transient {
		delete(claims, claim)
	}
	if id.Claims, err = json.Marshal(claims); err != nil {
		return nil, errors.New("its claims cannot be read")
	}
	return id, nil
}

// maxClaimDepth is how deep claims may be nested: more than anybody does, and less than anything that reads them fails at.
const maxClaimDepth = 32

// storable reports whether a value can be given to the database as it is.
func storable(value any, depth int) bool {
	switch v := value.(type) {
	case string:
		return !strings.ContainsRune(v, 0)
	case map[string]any:
		for name, inner := range v {
			if depth == 0 || !storable(name, depth) || !storable(inner, depth-1) {
				return false
			}
		}
	case []any:
		return len(v) == 0 || depth > 0 && !slices.ContainsFunc(v, func(inner any) bool { return !storable(inner, depth-1) })
	}
	return true
}

var (
	errRevoked = errors.New("it has been revoked: sign in again")
	errIssuer  = errors.New("it is by an issuer whose tokens are not taken here")
)

// claims returns what a valid token says, and whether it is the service's own.
func (t *Tokens) claims(token string) (claims jwt.MapClaims, own bool, err error) {
	if t.Own != nil {
		unsure := jwt.MapClaims{}
		if _, _, err := jwt.NewParser().ParseUnverified(token, unsure); err != nil {
			return nil, false, err
		}
		if unsure["iss"] == ownIssuer || t.Issuer == nil {
			claims, err = t.Own.Verify(token)
			return claims, true, err
		}
	}
	if t.Issuer == nil {
		return nil, false, errIssuer
	}
	claims, err = t.Issuer.verify(token)
	return claims, false, err
}

// verify returns what a token of the issuer's says, if it is valid.
func (i *Issuer) verify(token string) (jwt.MapClaims, error) {
	options := []jwt.ParserOption{jwt.WithValidMethods(i.Methods), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(i.Leeway)}
	if i.Name != "" {
		options = append(options, jwt.WithIssuer(i.Name))
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.NewParser(options...).ParseWithClaims(token, claims, i.Key); err != nil {
		return nil, err
	}
	if len(i.Audience) > 0 {
		audience, err := claims.GetAudience()
		if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(i.Audience, a) }) {
			return nil, jwt.ErrTokenInvalidAudience
		}
	}
	return claims, nil
}

// seconds is a moment in a claim, which may have a fraction; zero where there is none.
func seconds(claim any) time.Time {
	number, ok := claim.(float64)
	if !ok || number <= 0 || number > math.MaxInt32*100 {
		return time.Time{}
	}
	whole, fraction := math.Modf(number)
	return time.Unix(int64(whole), int64(fraction*1e9))
}

// explainToken says what is wrong with a token, and nothing that is in it.
func explainToken(err error) error {
	for _, known := range []struct {
		is   error
		says string
	}{
		{jwt.ErrTokenExpired, "it has expired"},
		{jwt.ErrTokenNotValidYet, "it is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "it was issued in the future"},
		{jwt.ErrTokenInvalidAudience, "it is for another audience"},
		{jwt.ErrTokenInvalidIssuer, "it is by another issuer"},
		{jwt.ErrTokenRequiredClaimMissing, "a claim is missing that it needs: exp, or those that this service asks for"},
		{jwt.ErrTokenUnverifiable, "it is not signed by a key of the issuer's"},
		{jwt.ErrTokenSignatureInvalid, "it is not signed by the issuer's key, or by an algorithm that the key is not for"},
		{jwt.ErrTokenMalformed, "it is no JSON Web Token"},
		{errIssuer, errIssuer.Error()},
	} {
		if errors.Is(err, known.is) {
			return errors.New(known.says)
		}
	}
	return errors.New("its claims cannot be read")
}
