package db_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

func here() bool  { return true }
func there() bool { return false }

// An issuer's tokens name users by their ids, by their subjects, or as they like, where there is no table of users.
func TestSubjects(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	run(`insert into users (username, display_name, subject) values ('ada', 'Ada', 'auth|ada'), ('boris', 'Boris', null)`)
	ids, subjects, none := &db.Subjects{DB: c.DB, Tables: here, ByID: true}, &db.Subjects{DB: c.DB, Tables: here}, &db.Subjects{DB: c.DB, Tables: there, Create: true}
	for _, tt := range []struct {
		of         *db.Subjects
		name, want string
	}{
		{ids, "2", "2"}, {ids, "777", "777"}, {ids, "auth|ada", ""}, {ids, "0", ""}, {ids, "-1", ""}, {ids, "1; drop table users", ""},
		{subjects, "auth|ada", "1"}, {subjects, "auth|ada", "1"}, {subjects, "1", ""}, {subjects, "AUTH|ADA", ""}, {subjects, "boris", ""},
		{none, "auth|zoe", "auth|zoe"},
	} {
		got, err := tt.of.User(t.Context(), tt.name, nil)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	run(`delete from users where id = 1`)
	subjects.Forget("1")
	if got, err := subjects.User(t.Context(), "auth|ada", nil); err == nil {
		t.Errorf("who was deleted is %q", got)
	}
}

// Who comes for the first time is added, once, by a name that is free, however many tokens come at the same time.
func TestSubjectsAreAdded(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	run(`insert into users (username, display_name) values ('ada', 'Ada')`)
	for _, tt := range []struct {
		subject        string
		claims         map[string]any
		name, displays string
	}{
		{"1", map[string]any{"preferred_username": "ada", "name": "Ada L."}, "ada_2", "Ada L."},
		{"2", map[string]any{"nickname": "ADA"}, "ADA_3", "ADA"},
		{"3", map[string]any{"email": "eve@example.org", "name": " "}, "eve", "eve"},
		{"4", map[string]any{"name": "Zoë van Dijk"}, "Zoë_van_Dijk", "Zoë van Dijk"},
		{"auth|5", nil, "auth|5", "auth|5"},
		{"6", map[string]any{"preferred_username": 6, "nickname": "\t\n", "email": "@"}, "6", "6"},
		{"\u00a0", nil, "user", "user"},
	} {
		// Each instance has what it knows in a memory of its own.
		var users [8]string
		var group sync.WaitGroup
		for i := range users {
			group.Go(func() {
				user, err := (&db.Subjects{DB: c.DB, Tables: here, Create: true}).User(t.Context(), tt.subject, tt.claims)
				if err != nil {
					t.Error(err)
				}
				users[i] = user
			})
		}
		group.Wait()
		for _, user := range users {
			if user == "" || user != users[0] {
				t.Fatalf("%q is %q", tt.subject, users)
			}
		}
		if got := ask[string](t, c, `select username || '/' || display_name from users where subject = $1`, tt.subject); len(got) != 1 || got[0] != tt.name+"/"+tt.displays {
			t.Errorf("%q is added as %q, want %q", tt.subject, got, tt.name+"/"+tt.displays)
		}
	}
}

// Without the database nobody can be told who a token is of, and is to come back.
func TestSubjectsWithoutDatabase(t *testing.T) {
	t.Parallel()
	c, _ := channel(t, dbtest.Database(t))
	c.DB.Close()
	_, err := (&db.Subjects{DB: c.DB, Tables: here}).User(t.Context(), "x", nil)
	var known *realtime.Error
	if !errors.As(err, &known) || known.Code != realtime.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if _, err := (&db.Revocations{DB: c.DB}).Revoked("1", "", time.Time{}); !errors.As(err, &known) || known.Code != realtime.CodeUnavailable {
		t.Errorf("before they are read: %v", err)
	}
}
