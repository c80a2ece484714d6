package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// How keys are kept up to date: a JWKS is fetched anew from time to time, and when a token names a key that is not in it, which
// anybody may do as often as he likes.
const (
	keysAge        = 15 * time.Minute
	keysPause      = 5 * time.Second // between two looks at it
	keysTimeout    = 5 * time.Second
	unknownKeyWait = 2 * time.Second
)

// PublicKeys is an issuer that signs by private keys, whose public ones are in a JSON Web Key Set, at a URL or in a file. It is fetched
// until ctx ends; if it cannot be now, that is logged, and no tokens are valid until it can.
func PublicKeys(ctx context.Context, where string, logger *slog.Logger) (*Issuer, error) {
	issuer := &Issuer{Methods: keyMethods, Leeway: defaultLeeway}
	if !strings.HasPrefix(where, "https://") && !strings.HasPrefix(where, "http://") {
		file := &keyFile{path: where, logger: logger}
		if err := file.load(); err != nil {
			return nil, err
		}
		issuer.Key = file.key
		return issuer, nil
	}
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{where}, keyfunc.Override{
		HTTPTimeout: keysTimeout, RefreshInterval: keysAge, RateLimitWaitMax: unknownKeyWait,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(keysPause), 1),
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(_ context.Context, err error) {
				logger.Warn("the keys of the issuer of tokens cannot be fetched", "url", where, "error", err)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("keys at %s: %w", where, err)
	}
	issuer.Key = func(t *jwt.Token) (any, error) { return keyOfToken(keys, t) }
	return issuer, nil
}

// keyOfToken is the key that the token names, or all of them where it names none.
func keyOfToken(keys keyfunc.Keyfunc, t *jwt.Token) (any, error) {
	if _, named := t.Header["kid"]; !named {
		return keys.VerificationKeySet(context.Background())
	}
	return keys.Keyfunc(t)
}

// keyFile is a JWKS in a file, which is read again when it has changed.
type keyFile struct {
	path   string
	logger *slog.Logger

	mu       sync.Mutex
	keys     keyfunc.Keyfunc
	modified time.Time
	looked   time.Time
}

func (f *keyFile) key(t *jwt.Token) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) > keysPause {
		if err := f.load(); err != nil {
			f.logger.Warn("the keys of the issuer of tokens cannot be read again; those from before are used", "error", err)
		}
	}
	return keyOfToken(f.keys, t)
}

// load reads the file, unless it is as it was; mu is held, or nobody else has the file.
func (f *keyFile) load() error {
	f.looked = time.Now()
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if f.keys != nil && info.ModTime().Equal(f.modified) {
		return nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	keys, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return errors.New("keys: " + f.path + " is not a JSON Web Key Set, such as {\"keys\":[…]}")
	}
	f.keys, f.modified = keys, info.ModTime()
	return nil
}
