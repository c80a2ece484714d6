package main

import (
	"context"
	"fmt"
	"sync"

	tidings "tidings/clients/go"
)

// tailTokens gives the token of the command line, or the one that stands in a file at the time.
type tailTokens struct {
	token, file string

	mu     sync.Mutex
	last   string // that was given, of the file
	works  bool   // it was taken
	warned bool   // that there is no other
}

// worked notes that the last token was taken.
func (t *tailTokens) worked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.works = true
}

// get is a tidings.Client's Token. That of a file that was taken before is not given again when another one is needed: the file is looked
// at until there is one.
func (t *tailTokens) get(_ context.Context, why tidings.Why) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == "" {
		if why == tidings.Expiring {
			note("the token runs out soon; with --token-file, another one would be looked for")
			return "", tidings.ErrGiveUp
		}
		return t.token, nil
	}
	token := ""
	if _, err := (secretFile{"token", t.file, &token}).read(); err != nil {
		return "", err
	}
	if token == t.last && t.works && why != tidings.Connect {
		if !t.warned {
			t.warned = true
			note("the token runs out, and another one is waited for in %s", t.file)
		}
		return "", fmt.Errorf("%s has no other token yet", t.file)
	}
	t.last, t.works, t.warned = token, why == tidings.Expiring, false
	return token, nil
}
