package docs_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
)

// Those who come from elsewhere do what is told to them.
func TestFromPgEventserv(t *testing.T) {
	t.Parallel()
	newWalk(t, "from-pg_eventserv.md").run(readBlocks(t, "from-pg_eventserv.md"))
}

func TestFromStrawberry(t *testing.T) {
	t.Parallel()
	w := newWalk(t, "from-strawberry.md")
	w.python = pythonWith(t, "websockets")
	w.run(readBlocks(t, "from-strawberry.md"))
}

// asOnSupabase is a database with what Supabase has in each, as far as policies use it.
const asOnSupabase = `
create role authenticated nologin;
create schema auth;
grant usage on schema auth to authenticated;
create function auth.uid() returns uuid stable language sql as $$
    select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
create table todos (id bigint primary key generated always as identity, owner uuid not null, task text not null);
grant select on todos to authenticated;
alter table todos enable row level security;
create policy own on todos for select to authenticated using (owner = auth.uid());
insert into todos (owner, task) values ('ada00000-0000-4000-8000-000000000001', 'water the plants');
`

func TestFromSupabase(t *testing.T) {
	t.Parallel()
	w := newWalk(t, "from-supabase-realtime.md")
	database, err := url.Parse(w.database)
	if err != nil {
		t.Fatal(err)
	}
	database.Path = "/tidings"
	w.database = database.String()
	conn, err := pgx.Connect(t.Context(), w.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.PgConn().Exec(t.Context(), asOnSupabase).ReadAll(); err != nil {
		t.Fatal(err)
	}
	const secret = "by which Supabase Auth signs tokens"
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://abcdefgh.supabase.co/auth/v1", "aud": "authenticated", "role": "authenticated",
		"sub": "ada00000-0000-4000-8000-000000000001", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"jwt.secret": secret, "ada.token": token} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.run(readBlocks(t, "from-supabase-realtime.md"))
}
