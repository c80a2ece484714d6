package db_test

import (
	"errors"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
)

// What is somebody else's is changed by those whose role it is, at the moment of the change; triggers know who they are.
func TestRoles(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`insert into users (username, display_name, role) values ('mod', 'Mod', 'moderator'), ('root', 'Root', 'admin')`)
	run(`create table acts (n bigint generated always as identity, who text, what text)`)
	run(`create function act() returns trigger language plpgsql as $$ begin
		insert into acts (who, what) values (tidings.user_id(), tg_table_name || ' ' || tg_op); return null; end $$`)
	for _, table := range []string{"users", "messages", "comments"} {
		run(`create trigger act after insert or update or delete on ` + table + ` for each statement execute function act()`)
	}
	const author, member, moderator, admin = 1, 3, 4, 5
	ctx, text, once := t.Context(), "text", db.Once{}
	role := func(role string) func(who db.Actor) error {
		return func(who db.Actor) error { _, err := c.SetRole(ctx, who, member, role, once); return err }
	}
	does := map[string]func(who db.Actor) error{
		"message":  func(who db.Actor) error { _, err := c.UpdateMessage(ctx, who, 1, &text, nil, once); return err },
		"comment":  func(who db.Actor) error { _, err := c.UpdateComment(ctx, who, 1, text, once); return err },
		"user":     func(who db.Actor) error { _, err := c.UpdateUser(ctx, who, author, nil, &text, once); return err },
		"role":     role("member"),
		"own role": func(who db.Actor) error { _, err := c.SetRole(ctx, who, who.UserID, "admin", once); return err },
		"create": func(who db.Actor) error {
			_, err := c.CreateMessage(ctx, who, db.Message{AuthorID: 2, Title: text}, once)
			return err
		},
	}
	for who, may := range map[db.Actor]map[string]bool{
		{}:            {},
		by(99):        {},
		by(author):    {"message": true, "user": true},
		by(2):         {"comment": true, "create": true},
		by(member):    {},
		by(moderator): {"message": true, "comment": true},
		by(admin):     {"message": true, "comment": true, "user": true, "role": true, "own role": true},
		anybody:       {"message": true, "comment": true, "user": true, "role": true, "create": true},
	} {
		for what, do := range does {
			err := do(who)
			switch {
			case what == "own role" && (who == anybody || who == db.Actor{} || who == by(99)):
				if !errors.Is(err, db.ErrNotFound) {
					t.Errorf("%s by %+v: got %v", what, who, err)
				}
			case may[what] && err != nil || !may[what] && !errors.Is(err, db.ErrNotTheirs):
				t.Errorf("%s by %+v: got %v, may: %t", what, who, err, may[what])
			}
		}
	}
	if err := does["message"](by(member)); !errors.Is(err, db.ErrNotTheirs) {
		t.Error(err)
	}
	if err := role("moderator")(by(admin)); err != nil {
		t.Fatal(err)
	}
	if err := does["message"](by(member)); err != nil {
		t.Error(err)
	}
	if err := role("king")(by(admin)); err == nil {
		t.Error("there is a role king")
	}
	run(`truncate acts`)
	for _, who := range []db.Actor{by(moderator), anybody} {
		if err := c.DeleteMessage(ctx, who, 1, once); (who == anybody) != errors.Is(err, db.ErrNotFound) {
			t.Error(err)
		}
	}
	if _, err := c.CreateMessage(ctx, anybody, db.Message{AuthorID: 2, Title: text}, once); err != nil {
		t.Fatal(err)
	}
	got := ask[string](t, c, `select coalesce(who, 'nobody') || ' ' || what from acts where what like 'messages%' order by n`)
	if len(got) != 2 || got[0] != "4 messages DELETE" || got[1] != "nobody messages INSERT" {
		t.Errorf("triggers saw %q", got)
	}
}
