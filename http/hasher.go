package http

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"sync"

	"github.com/alexedwards/argon2id"
)

// PasswordHasher makes and checks what is kept of passwords.
type PasswordHasher interface {
	// Hash makes the hash of a password.
	Hash(ctx context.Context, password string) (string, error)
	// Verify reports whether a hash is the password's. An empty hash is nobody's, and takes as long.
	Verify(ctx context.Context, password, hash string) (bool, error)
}

// Argon2 hashes passwords by argon2id, so many at a time as there are processors: each takes memory, and a processor for some tens of
// milliseconds. Others wait their turn until their context ends. Zero values take the defaults, those of OWASP.
type Argon2 struct {
	Memory      uint32 // KiB; 19,456
	Iterations  uint32 // 2
	Parallelism uint8  // 1

	once   sync.Once
	params argon2id.Params
	turns  chan struct{}
	decoy  string // a hash of no password
}

func (a *Argon2) init() {
	a.once.Do(func() {
		a.params = argon2id.Params{Memory: a.Memory, Iterations: a.Iterations, Parallelism: a.Parallelism, SaltLength: 16, KeyLength: 32}
		if a.params.Memory == 0 {
			a.params.Memory = 19_456
		}
		if a.params.Iterations == 0 {
			a.params.Iterations = 2
		}
		if a.params.Parallelism == 0 {
			a.params.Parallelism = 1
		}
		a.turns = make(chan struct{}, runtime.GOMAXPROCS(0))
		random := make([]byte, a.params.SaltLength+a.params.KeyLength)
		_, _ = rand.Read(random) // never fails
		salt, key := random[:a.params.SaltLength], random[a.params.SaltLength:]
		a.decoy = fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", a.params.Memory, a.params.Iterations, a.params.Parallelism,
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
	})
}

// turn waits for a turn.
func (a *Argon2) turn(ctx context.Context) (done func(), err error) {
	a.init()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case a.turns <- struct{}{}:
		return func() { <-a.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hash implements PasswordHasher.
func (a *Argon2) Hash(ctx context.Context, password string) (string, error) {
	done, err := a.turn(ctx)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	defer done()
	return argon2id.CreateHash(password, &a.params)
}

// Verify implements PasswordHasher.
func (a *Argon2) Verify(ctx context.Context, password, hash string) (bool, error) {
	done, err := a.turn(ctx)
	if err != nil {
		return false, fmt.Errorf("check a password: %w", err)
	}
	defer done()
	if hash == "" {
		hash = a.decoy
	}
	right, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("check a password: %w", err)
	}
	return right, nil
}
