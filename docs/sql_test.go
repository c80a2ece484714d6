package docs_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/triggers"
)

// What has to be there for the SQL of a document, besides the information channel's tables.
var before = map[string]string{
	"../README.md": `create table orders (id int primary key, customer_id int, total numeric)`,
	"permissions.md": `create table orders (id int primary key, customer_id int);
		create schema app; create table app.members (room text, member text); create table posts (id int primary key, room text);
		create table notes (id int primary key, owner text, team text, shared boolean)`,
}

// The SQL that documents show is SQL that PostgreSQL takes, one block after another.
func TestSQL(t *testing.T) {
	t.Parallel()
	run := 0
	for _, document := range documents(t) {
		var blocks []block
		for _, b := range readBlocks(t, document) {
			// What begins with … is a part of a statement.
			if b.lang == "sql" && !strings.HasPrefix(b.text, "…") {
				blocks = append(blocks, b)
			}
		}
		if len(blocks) == 0 || walked[document] {
			continue
		}
		run += len(blocks)
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			address := dbtest.Database(t)
			database, err := db.Open(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer database.Close()
			for _, set := range []db.MigrationSet{{Name: "live", Files: triggers.Migrations}, db.ChannelMigrations} {
				if err := database.MigrateUp(t.Context(), set); err != nil {
					t.Fatal(err)
				}
			}
			conn, err := pgx.Connect(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			if _, err := conn.PgConn().Exec(t.Context(), before[document]).ReadAll(); err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks {
				if _, err := conn.PgConn().Exec(t.Context(), b.text).ReadAll(); err != nil {
					t.Errorf("%s:%d: %v", document, b.line, err)
				}
			}
		})
	}
	if run < 6 {
		t.Errorf("%d blocks of SQL were found, want at least 6", run)
	}
}
