package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// A page says whether there are more rows and where they begin, whichever of its bounds it has met.
func TestLoad(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	execute(t, database, `create table pairs (a int, b text, v text, primary key (a, b))`)
	execute(t, database, `insert into pairs select i / 3, 'b' || i % 3, case when i = 4 then repeat('x', 5000) else 'x' end from generate_series(0, 9) as i`)
	execute(t, database, `create table lines (v text)`)
	execute(t, database, `insert into lines values ('a'), ('b')`)
	execute(t, database, `update tidings.settings set max_value_bytes = 4000`)
	execute(t, database, `select tidings.watch('pairs', key => 'a', read => 'public'), tidings.watch('lines', read => 'public')`)
	reader := &db.Reader{DB: database}
	pairs, lines := realtime.Channel{Topic: "pairs"}, realtime.Channel{Topic: "lines"}
	for _, c := range []struct {
		page realtime.Page
		rows int
		next []string // nil: no more, or no place
		more bool
	}{
		{realtime.Page{Channel: pairs, MaxRows: 10, MaxBytes: 1 << 20}, 10, nil, false},
		{realtime.Page{Channel: pairs, MaxRows: 9, MaxBytes: 1 << 20}, 9, []string{"2", "b2"}, true},
		{realtime.Page{Channel: pairs, MaxRows: 1, MaxBytes: 1 << 20}, 1, []string{"0", "b0"}, true},
		{realtime.Page{Channel: pairs, MaxRows: 100, MaxBytes: 1}, 1, []string{"0", "b0"}, true},
		{realtime.Page{Channel: pairs, MaxRows: 100, MaxBytes: 1000}, 4, []string{"1", "b0"}, true}, // a row has 256 bytes and its own
		{realtime.Page{Channel: pairs, MaxRows: 4, MaxBytes: 1 << 20, After: []string{"1", "b2"}}, 4, nil, false},
		{realtime.Page{Channel: pairs, MaxRows: 3, MaxBytes: 1 << 20, After: []string{"1", "b2"}}, 3, []string{"2", "b2"}, true},
		{realtime.Page{Channel: pairs, MaxRows: 3, MaxBytes: 1 << 20, After: []string{"3", "b0"}}, 0, nil, false},
		{realtime.Page{Channel: pairs, MaxRows: 2, MaxBytes: 1 << 20, Backward: true, After: []string{"1", "b0"}}, 2, []string{"0", "b1"}, true},
		{realtime.Page{Channel: realtime.Channel{Topic: "pairs", Key: "1"}, MaxRows: 3, MaxBytes: 1 << 20}, 3, nil, false},
		{realtime.Page{Channel: realtime.Channel{Topic: "pairs", Key: "x"}, MaxRows: 3, MaxBytes: 1 << 20}, 0, nil, false},
		{realtime.Page{Channel: lines, MaxRows: 2, MaxBytes: 1 << 20}, 2, nil, false},
		{realtime.Page{Channel: lines, MaxRows: 1, MaxBytes: 1 << 20}, 1, nil, true},
	} {
		got, err := load(t.Context(), reader, c.page)
		if err != nil {
			t.Errorf("%+v: %v", c.page, err)
			continue
		}
		if len(got.Rows) != c.rows || got.More != c.more || fmt.Sprint(got.Next) != fmt.Sprint(c.next) || got.At.IsZero() || got.At.Midway() {
			t.Errorf("%+v: got %d rows, %t, %q, %s; want %d, %t, %q", c.page, len(got.Rows), got.More, got.Next, got.At, c.rows, c.more, c.next)
		}
		for _, e := range got.Rows {
			if e.Type != realtime.TypeRow || e.Topic != c.page.Channel.Topic || e.Keyed != (e.Topic == "pairs") || e.Omitted != (e.Data == nil) ||
				!e.Cursor.IsZero() || c.page.Channel.Key != "" && e.Key != c.page.Channel.Key {
				t.Errorf("%+v: got the row %+v", c.page, e)
			}
		}
	}
	all, err := load(t.Context(), reader, realtime.Page{Channel: pairs, MaxRows: 10, MaxBytes: 1 << 20})
	if err != nil || string(all.Rows[3].Data) != `{"a":1,"b":"b0","v":"x"}` || all.Rows[3].Key != "1" || !all.Rows[4].Omitted || all.Rows[5].Omitted {
		t.Errorf("got %+v, %v", all.Rows, err)
	}

	// What is no place, what is gone, and what is only for now.
	var final *realtime.Error
	if _, err := load(t.Context(), reader, realtime.Page{Channel: pairs, MaxRows: 1, After: []string{"x", "y"}}); !errors.Is(err, realtime.ErrPlace) {
		t.Errorf("a place that is none: %v", err)
	}
	if _, err := load(t.Context(), reader, realtime.Page{Channel: realtime.Channel{Topic: "nothing"}, MaxRows: 1}); !errors.As(err, &final) || final.Code != realtime.CodeUnknownChannel {
		t.Errorf("what is not watched: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := load(ended, reader, realtime.Page{Channel: pairs, MaxRows: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended: %v", err)
	}
	execute(t, database, `drop table lines`)
	final = nil
	if _, err := load(t.Context(), reader, realtime.Page{Channel: lines, MaxRows: 1}); !errors.As(err, &final) || final.Code != realtime.CodeUnknownChannel {
		t.Errorf("a table that is no more: %v", err)
	}
}

// load reads one page.
func load(ctx context.Context, reader *db.Reader, page realtime.Page) (realtime.Loaded, error) {
	loaded, err := reader.Load(ctx, page)
	if err != nil {
		return realtime.Loaded{}, err
	}
	return loaded[0], nil
}

// Several channels are read at one position, and not at all where they are too much together.
func TestLoadTogether(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	if _, err := database.Pool.Exec(t.Context(), `create table a (id int primary key); create table b (id int primary key);
		insert into a select generate_series(1, 10); insert into b select generate_series(1, 20);
		select tidings.watch('a', read => 'public'), tidings.watch('b', read => 'public')`); err != nil {
		t.Fatal(err)
	}
	reader := &db.Reader{DB: database}
	page := func(topic, key string, bytes int) realtime.Page {
		return realtime.Page{Channel: realtime.Channel{Topic: topic, Key: key}, MaxRows: 100, MaxBytes: bytes}
	}
	loaded, err := reader.Load(t.Context(), page("b", "7", 1<<20), page("a", "", 1<<20), page("b", "", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 10, 20} {
		if l := loaded[i]; len(l.Rows) != want || l.More || l.At.String() != loaded[0].At.String() || l.At.IsZero() {
			t.Errorf("page %d: got %d rows, %t, at %s; want %d", i, len(l.Rows), l.More, l.At, want)
		}
	}
	loaded, err = reader.Load(t.Context(), page("a", "", 6000), page("b", "", 6000)) // each of them would do
	if err != nil || loaded[0].More || !loaded[1].More {
		t.Errorf("got %+v, %v", loaded, err)
	}
}
