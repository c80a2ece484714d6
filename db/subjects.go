package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// Subjects finds the users that an issuer's tokens name, in the application's table.
type Subjects struct {
	DB *DB
	// Tables reports whether the application's tables are there; where they are not, users are called as tokens call them.
	Tables func() bool
	// ByID says that tokens name users by users.id; otherwise they do by users.subject.
	ByID bool
	// Create makes a user of who comes with a token for the first time.
	Create bool

	mu    sync.Mutex
	known map[string]knownUser // by subject
}

type knownUser struct {
	user string
	at   time.Time // when it was read
}

// maxKnown is how many are remembered, and knownFor how long.
const (
	maxKnown = 50_000
	knownFor = time.Minute
)

// errNoUser says that a token is of nobody who is a user.
var errNoUser = errors.New("it is of nobody who is a user here")

// User returns the user's id as text. What is wrong with the name is for the token's sender.
func (s *Subjects) User(ctx context.Context, name string, claims map[string]any) (string, error) {
	switch {
	case !s.Tables():
		return name, nil
	case s.ByID:
		// As it is written, too: "+1" would be 1 to some, and to others somebody who was never disconnected.
		if id, err := strconv.ParseInt(name, 10, 64); err != nil || id <= 0 || strconv.FormatInt(id, 10) != name {
			return "", errors.New("its user is not the id of a user")
		}
		return name, nil
	}
	s.mu.Lock()
	known := s.known[name]
	s.mu.Unlock()
	if time.Since(known.at) < knownFor {
		return known.user, nil
	}
	user, err := s.find(ctx, name)
	if errors.Is(err, pgx.ErrNoRows) && s.Create {
		user, err = s.create(ctx, name, claims)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", errNoUser
	case err != nil:
		return "", &realtime.Error{Code: realtime.CodeUnavailable, Message: "whose the token is cannot be said now: the database does not answer; try again"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxKnown {
		s.known = make(map[string]knownUser)
	}
	s.known[name] = knownUser{user, time.Now()}
	return user, nil
}

// Forget is called when a user may not be there any more.
func (s *Subjects) Forget(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, known := range s.known {
		if known.user == user {
			delete(s.known, name)
		}
	}
}

func (s *Subjects) find(ctx context.Context, subject string) (user string, err error) {
	err = s.DB.Pool.QueryRow(ctx, `select id::text from users where subject = $1`, subject).Scan(&user)
	return user, err
}

// create makes the user, by a name that the token suggests and that is free.
func (s *Subjects) create(ctx context.Context, subject string, claims map[string]any) (user string, err error) {
	username, display := suggestedNames(subject, claims)
	const insert = `insert into users (username, display_name, subject) values ($1, $2, $3) on conflict do nothing returning id::text`
	for n := 1; n <= 20; n++ {
		candidate := username
		if n > 1 {
			candidate = fmt.Sprintf("%s_%d", username, n)
		}
		err = s.DB.Pool.QueryRow(ctx, insert, candidate, display, subject).Scan(&user)
		if !errors.Is(err, pgx.ErrNoRows) {
			return user, err
		}
		if user, err = s.find(ctx, subject); !errors.Is(err, pgx.ErrNoRows) {
			return user, err // somebody was faster
		}
	}
	return "", errors.New("no name is free")
}

// suggestedNames are a username and a name to be shown, as the usual claims have them (those of OpenID Connect).
func suggestedNames(subject string, claims map[string]any) (username, display string) {
	claim := func(name string) string {
		text, _ := claims[name].(string)
		return strings.TrimSpace(text)
	}
	email, _, _ := strings.Cut(claim("email"), "@")
	for _, suggestion := range []string{claim("preferred_username"), claim("nickname"), email, claim("name"), subject} {
		if username = tidyUsername(suggestion); username != "" {
			break
		}
	}
	if username == "" {
		username = "user"
	}
	display = username
	if name := claim("name"); name != "" {
		display = string([]rune(name)[:min(200, len([]rune(name)))])
	}
	return username, display
}

// tidyUsername makes a suggestion what a username may be, with room for a number.
func tidyUsername(suggestion string) string {
	var b strings.Builder
	n := 0
	for _, r := range suggestion {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar {
			r = '_'
		}
		if n++; n > 56 {
			break
		}
		b.WriteRune(r)
	}
	return strings.Trim(b.String(), "_")
}
