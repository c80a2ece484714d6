package db_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
)

// A service that does not own a table can neither offer it nor make it live, and says so in words; a table that is in use is not waited for
// for long.
func TestWatchTableOfOthers(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	c, run := writing(t, address)
	run(`do $$ begin create role watch_admin_test_guest login; exception when duplicate_object or unique_violation then null; end $$;
		create table orders (id int primary key); grant usage on schema tidings to watch_admin_test_guest; grant select on tidings.watches to watch_admin_test_guest;
		grant execute on all functions in schema tidings to watch_admin_test_guest; grant select, insert, update, delete on all tables in schema tidings to watch_admin_test_guest`)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("user", "watch_admin_test_guest")
	u.RawQuery = query.Encode()
	guest, err := db.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guest.Close)

	refused := func(d *db.DB, table, field, message string) {
		t.Helper()
		var invalid *db.InvalidError
		if _, err := d.WatchTable(t.Context(), db.Watch{Table: table}); !errors.As(err, &invalid) || invalid.Column != field || !strings.Contains(invalid.Message, message) {
			t.Errorf("%s: got %v, want %q of %s", table, err, message, field)
		}
	}
	refused(guest, "orders", "table", "has to own the table")
	refused(guest, "accounts", "table", "nobody is told of")
	refused(guest, "nothing", "table", "there is none")
	if tables, err := guest.Tables(t.Context(), 10); err != nil || len(tables) > 0 {
		t.Errorf("tables offered to a role that owns none: %+v, %v", tables, err)
	}
	tables, err := c.DB.Tables(t.Context(), 2)
	if err != nil || len(tables) != 2 || tables[0].Name != "comments" || tables[0].Key != "id" || !tables[0].Watched || len(tables[0].Columns) != 6 {
		t.Errorf("the first two tables: %+v, %v", tables, err)
	}

	tx, err := c.DB.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), `insert into orders values (1)`); err != nil {
		t.Fatal(err)
	}
	refused(c.DB, "orders", "table", "is in use")
}
