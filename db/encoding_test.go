package db_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/triggers"
)

// In whatever encoding a database keeps its text, or would give it to clients, it is told in UTF-8.
func TestEncodings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, options, setting string
		pooler                 bool

		text, want string // an expression, and what is told of its value
	}{
		{"LATIN1", `encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0`, "UTF8", false, `U&'caf\00e9'`, "café"},
		{"LATIN1, through a pooler", `encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0`, "UTF8", true, `U&'caf\00e9'`, "café"},
		{"EUC_JP", `encoding 'EUC_JP' lc_collate 'C' lc_ctype 'C' template template0`, "UTF8", false, `U&'\65e5\672c'`, "日本"},
		{"clients have LATIN1 by default", ``, "LATIN1", false, `U&'caf\00e9'`, "café"},
		{"SQL_ASCII", `encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0`, "UTF8", false, `E'caf\xc3\xa9'`, "café"},
		{"SQL_ASCII, and no UTF-8", `encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0`, "SQL_ASCII", false, `E'caf\xe9'`, "caf\uFFFD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := dbtest.DatabaseWith(t, c.options)
			if c.options == "" {
				run(t, address, `do $$ begin execute format('alter database %I set client_encoding = `+c.setting+`', current_database()); end $$`)
			}
			url := address
			if c.pooler {
				url = dbtest.StartPooler(t, address, nil).URL()
			}
			database, err := db.Open(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(database.Close)
			if err := database.MigrateUp(t.Context(), db.MigrationSet{Name: "live", Files: triggers.Migrations}); err != nil {
				t.Fatal(err)
			}
			run(t, address, `create table names (id int primary key, name text); select tidings.watch('names', read => 'public')`)

			reader := &db.Reader{DB: database, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)), NoListen: true, PollInterval: 50 * time.Millisecond, Timeout: 30 * time.Second}
			hub := realtime.NewHub(reader, realtime.Options{})
			reader.Sink = hub
			runReader(t, reader, hub)
			names := listenTo(t, hub, noDelay, "names")
			config, err := pgx.ParseConfig(address)
			if err != nil {
				t.Fatal(err)
			}
			config.RuntimeParams["client_encoding"] = c.setting
			writer, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close(t.Context())
			if _, err := writer.Exec(t.Context(), `insert into names values (1, `+c.text+`)`); err != nil {
				t.Fatal(err)
			}
			want := `{"id":1,"name":"` + c.want + `"}`
			await(t, "the event", func() bool { return names.count() == 1 })
			names.mu.Lock()
			if got := string(names.events[0].Data); got != want {
				t.Errorf("told %s, want %s", got, want)
			}
			names.mu.Unlock()
			loaded, err := reader.Load(t.Context(), realtime.Page{Channel: realtime.Channel{Topic: "names"}, MaxRows: 10, MaxBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if rows := loaded[0].Rows; len(rows) != 1 || string(rows[0].Data) != want {
				t.Errorf("loaded %+v, want %s", rows, want)
			}
		})
	}
}
