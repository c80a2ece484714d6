package db_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// What the database cannot read of one token is no to whoever brought it, and does not keep others from their answers.
func TestQuestionsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	_, err := database.Pool.Exec(t.Context(), `
		create table notes (id int primary key, owner text);
		alter table notes enable row level security;
		create policy own on notes for select using (owner = tidings.user_id());
		create table shop (id int primary key);
		create function may(claims jsonb, topic text, key text) returns boolean language sql as $$ select tidings.user_id() = '1' $$;
		select tidings.watch('notes'), tidings.watch('shop', read => 'policy:public.may')`)
	if err != nil {
		t.Fatal(err)
	}
	reader := &db.Reader{DB: database}
	rights := func(user, claims string) *realtime.Rights {
		return &realtime.Rights{SignedIn: true, User: user, Claims: json.RawMessage(claims)}
	}
	deep := `{"a":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + `}`
	poison := []*realtime.Rights{rights("1", `{"name":"\u0000"}`), rights("1\x00", `{}`), rights("1", deep), rights("1", `nonsense`)}
	var asks []realtime.Ask
	var judgings []realtime.Judging
	var want []bool
	for i := range 40 {
		who := rights("1", `{"n":1}`)
		if i%10 == 3 {
			who = poison[i/10]
		}
		asks = append(asks, realtime.Ask{Rights: who, Channel: realtime.Channel{Topic: "shop"}})
		judgings = append(judgings, realtime.Judging{Topic: "notes", Rights: who, Rows: [][]byte{[]byte(`{"id":1,"owner":"1"}`), nil}})
		want = append(want, i%10 != 3)
	}
	if got, err := reader.Permit(t.Context(), asks); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	got, err := reader.Judge(t.Context(), judgings)
	if err != nil {
		t.Fatal(err)
	}
	for i, rows := range got {
		if !slices.Equal(rows, []bool{want[i], false}) {
			t.Errorf("%d: got %v", i, rows)
		}
	}
}
