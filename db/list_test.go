package db_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// channel makes a database live and returns its store, and what runs SQL in it.
func channel(t *testing.T, address string) (*db.Channel, func(sql string, args ...any)) {
	t.Helper()
	database := install(t, address)
	return &db.Channel{DB: database}, func(sql string, args ...any) {
		t.Helper()
		if _, err := database.Pool.Exec(context.WithoutCancel(t.Context()), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
}

// ask returns the only column of what is asked.
func ask[T any](t *testing.T, c *db.Channel, sql string, args ...any) []T {
	t.Helper()
	rows, err := c.DB.Pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	list := []T{}
	for rows.Next() {
		var value T
		if err := rows.Scan(&value); err != nil {
			t.Fatal(err)
		}
		list = append(list, value)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// fill writes random rows, of which many have the same time.
func fill(run func(sql string, args ...any), users, messages, comments int) {
	run(`select setseed(random())`)
	run(`insert into users (username, display_name, created_at)
		select (array['user', 'USER', 'Zoë', 'zOË', 'Ёлка', 'ёж', '字', 'a_b', 'A%'])[1 + n % 9] || n, 'Nummer ' || n,
		       '2026-01-01 00:00:00.000001+00'::timestamptz + floor(random() * 4) * interval '1 microsecond'
		  from generate_series(1, $1::int) n`, users)
	run(`insert into messages (author_id, title, content, created_at)
		select 1 + floor(random() * $1)::int, (array['Even', 'Odd', 'öDD', '50%'])[1 + floor(random() * 4)::int], 'text ' || n % 7,
		       '2026-01-01'::timestamptz + floor(random() * 5) * interval '1 second' from generate_series(1, $2::int) n`, users, messages)
	run(`insert into comments (message_id, author_id, content, created_at)
		select 1 + floor(random() * random() * $2)::int, 1 + floor(random() * $1)::int, 'text ' || n % 7,
		       '2026-01-01'::timestamptz + floor(random() * 5) * interval '1 second' from generate_series(1, $3::int) n`, users, messages, comments)
}

// part is a page of any of the lists.
type part struct {
	ids    []int64
	places []db.Place
	more   bool
}

func partOf[T any](listed db.Listed[T], id func(T) int64) part {
	p := part{ids: []int64{}, places: listed.Places, more: listed.More}
	for _, row := range listed.Rows {
		p.ids = append(p.ids, id(row))
	}
	return p
}

func userID(u db.User) int64       { return u.ID }
func messageID(m db.Message) int64 { return m.ID }
func commentID(c db.Comment) int64 { return c.ID }

// anyList is one of the lists with a filter, and the SQL that has its rows.
type anyList struct {
	name  string
	sql   string
	order db.Order
	read  func(t *testing.T, page db.Page) part
}

func (l anyList) page(t *testing.T, page db.Page) part {
	t.Helper()
	page.Order = l.order
	return l.read(t, page)
}

// randomList chooses a list, an order and a filter.
func randomList(random *rand.Rand, c *db.Channel) anyList {
	order := db.Order(random.IntN(2))
	by := "created_at desc, id desc"
	if order == db.OldestFirst {
		by = "created_at, id"
	}
	check := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	maybe := func(conditions *[]string, sql string) bool {
		if random.IntN(3) > 0 {
			return false
		}
		*conditions = append(*conditions, sql)
		return true
	}
	conditions := []string{"true"}
	made := func(table string) string {
		return fmt.Sprintf("select id from %s where %s order by %s", table, strings.Join(conditions, " and "), by)
	}
	r := c.Read()
	number := int64(1 + random.IntN(12))
	switch random.IntN(3) {
	case 0:
		var filter db.UserFilter
		if maybe(&conditions, "(strpos(lower(username), 'ë') > 0 or strpos(lower(display_name), 'ë') > 0)") {
			filter.Text = "Ë"
		}
		if random.IntN(2) == 0 {
			order, by = db.ByName, "lower(username), id"
		}
		return anyList{"users", made("users"), order, func(t *testing.T, page db.Page) part {
			t.Helper()
			listed, err := r.ListUsers(t.Context(), page, filter)
			check(t, err)
			return partOf(listed, userID)
		}}
	case 1:
		var filter db.MessageFilter
		if maybe(&conditions, fmt.Sprintf("author_id = %d", number)) {
			filter.AuthorID = &number
		}
		if maybe(&conditions, "(strpos(lower(title), 'ödd') > 0 or strpos(lower(content), 'ödd') > 0)") {
			filter.Text = "Ödd"
		}
		if maybe(&conditions, "created_at >= '2026-01-01'::timestamptz + interval '1 second'") {
			filter.CreatedFrom = moment(1)
		}
		if maybe(&conditions, "created_at < '2026-01-01'::timestamptz + interval '3 seconds'") {
			filter.CreatedBefore = moment(3)
		}
		return anyList{"messages", made("messages"), order, func(t *testing.T, page db.Page) part {
			t.Helper()
			listed, err := r.ListMessages(t.Context(), page, filter)
			check(t, err)
			return partOf(listed, messageID)
		}}
	}
	var filter db.CommentFilter
	if maybe(&conditions, fmt.Sprintf("message_id = %d", number)) {
		filter.MessageID = &number
	}
	if maybe(&conditions, "author_id = 3") {
		filter.AuthorID = new(int64(3))
	}
	if maybe(&conditions, "strpos(content, 't 5') > 0") {
		filter.Text = "T 5"
	}
	if maybe(&conditions, "created_at >= '2026-01-01'::timestamptz + interval '2 seconds'") {
		filter.CreatedFrom = moment(2)
	}
	if maybe(&conditions, "created_at < '2026-01-01'::timestamptz + interval '4 seconds'") {
		filter.CreatedBefore = moment(4)
	}
	return anyList{"comments", made("comments"), order, func(t *testing.T, page db.Page) part {
		t.Helper()
		listed, err := r.ListComments(t.Context(), page, filter)
		check(t, err)
		return partOf(listed, commentID)
	}}
}

// moment is some seconds after the time of the first rows.
func moment(seconds int) *time.Time {
	return new(time.Date(2026, 1, 1, 0, 0, seconds, 0, time.UTC))
}

// randomPage chooses a part of a list with the places, and returns the indexes of its rows as well.
func randomPage(random *rand.Rand, places []db.Place) (page db.Page, from, to int, more bool) {
	from, to = 0, len(places)
	page = db.Page{Limit: random.IntN(len(places) + 3), FromEnd: random.IntN(2) == 0}
	if random.IntN(2) == 0 {
		page.Limit = random.IntN(4)
	}
	if random.IntN(2) == 0 && len(places) > 0 {
		n := random.IntN(len(places))
		page.After, from = &places[n], n+1
	}
	if random.IntN(2) == 0 && len(places) > 0 {
		n := random.IntN(len(places))
		page.Before, to = &places[n], n
	}
	to = max(from, to)
	more = to-from > page.Limit
	switch {
	case more && page.FromEnd:
		from = to - page.Limit
	case more:
		to = from + page.Limit
	}
	return page, from, to, more
}

// through pages through a list from one of its ends, and calls between after each page.
func through(t *testing.T, l anyList, limit int, fromEnd bool, between func()) []int64 {
	t.Helper()
	all := []int64{}
	page := db.Page{Limit: limit, FromEnd: fromEnd}
	for {
		p := l.page(t, page)
		if len(p.ids) > limit || p.more && len(p.ids) < limit || len(all) > 5000 {
			t.Fatalf("%+v: got %d rows, more %t, after %d", page, len(p.ids), p.more, len(all))
		}
		if fromEnd {
			all = append(slices.Clone(p.ids), all...)
		} else {
			all = append(all, p.ids...)
		}
		switch {
		case !p.more:
			return all
		case fromEnd:
			page.Before = &p.places[0]
		default:
			page.After = &p.places[len(p.places)-1]
		}
		between()
	}
}

// Every part of every list is that part of the whole list, and the pages make up the whole, from either end.
func TestListPages(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 60, 300, 400)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range transactions(t, 80) {
		l := randomList(random, c)
		name := fmt.Sprintf("seed %d, %s in order %d: %s", seed, l.name, l.order, l.sql)
		want := ask[int64](t, c, l.sql)
		whole := l.page(t, db.Page{Limit: 1000})
		if !slices.Equal(whole.ids, want) || whole.more || len(whole.places) != len(want) {
			t.Fatalf("%s: got %d, want %d", name, whole.ids, want)
		}
		for range 5 {
			page, from, to, more := randomPage(random, whole.places)
			got := l.page(t, page)
			if !slices.Equal(got.ids, want[from:to]) || got.more != more || !slices.Equal(got.places, whole.places[from:to]) {
				t.Fatalf("%s: %+v: got %d, more %t, want %d, %t", name, page, got.ids, got.more, want[from:to], more)
			}
		}
		fromEnd := random.IntN(2) == 0
		if got := through(t, l, 1+random.IntN(20), fromEnd, func() {}); !slices.Equal(got, want) {
			t.Fatalf("%s: page by page, from the end %t: got %d, want %d", name, fromEnd, got, want)
		}
	}
}

// While others come and go, the rows that stay are each seen once.
func TestListPagesWhileWritten(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 20, 200, 0)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	staying := ask[int64](t, c, `select id from messages order by created_at desc, id desc`)
	l := anyList{order: db.NewestFirst, read: func(t *testing.T, page db.Page) part {
		t.Helper()
		listed, err := c.Read().ListMessages(t.Context(), page, db.MessageFilter{})
		if err != nil {
			t.Fatal(err)
		}
		return partOf(listed, messageID)
	}}
	write := func() {
		// Ids before and between those that stay, too.
		run(`insert into messages (id, author_id, title, content, created_at)
			select 1000000 - $1::int - n * 10000, 1, 'passing', '', '2026-01-01'::timestamptz + floor(random() * 5) * interval '1 second'
			  from generate_series(1, 3) n on conflict do nothing`, random.IntN(5000))
		run(`insert into messages (id, author_id, title, content, created_at)
			values ($1, 1, 'passing', '', '2026-01-01'::timestamptz + floor(random() * 5) * interval '1 second') on conflict do nothing`, -random.IntN(1000))
		// Never so many that one page after another, of a single row, would not catch up.
		run(`delete from messages where id in (select id from messages where title = 'passing' order by random() offset $1)`, random.IntN(40))
	}
	for range transactions(t, 20) {
		write()
		fromEnd := random.IntN(2) == 0
		seen := through(t, l, 1+random.IntN(20), fromEnd, write)
		seen = slices.DeleteFunc(seen, func(id int64) bool { return !slices.Contains(staying, id) })
		if !slices.Equal(seen, staying) {
			t.Fatalf("seed %d, from the end %t: got %d, want %d", seed, fromEnd, seen, staying)
		}
	}
}

// The row whose place is given may have been deleted.
func TestListAfterADeletedRow(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 5, 30, 0)
	whole, err := c.Read().ListMessages(t.Context(), db.Page{Limit: 100}, db.MessageFilter{})
	if err != nil {
		t.Fatal(err)
	}
	run(`delete from messages where id = $1`, whole.Rows[10].ID)
	for _, page := range []db.Page{{Limit: 1, After: &whole.Places[10]}, {Limit: 1, Before: &whole.Places[10], FromEnd: true}} {
		got, err := c.Read().ListMessages(t.Context(), page, db.MessageFilter{})
		want := whole.Rows[9].ID
		if page.After != nil {
			want = whole.Rows[11].ID
		}
		if err != nil || len(got.Rows) != 1 || got.Rows[0].ID != want {
			t.Errorf("%+v: got %+v, %v, want %d", page, got.Rows, err, want)
		}
	}
}

// Lists of many parents, read at once, are those of each of them.
func TestNestedLists(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 12, 100, 400)
	r := c.Read()
	ctx := t.Context()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	for range transactions(t, 60) {
		order := db.Order(random.IntN(2))
		whole, err := r.ListComments(ctx, db.Page{Limit: 1000, Order: order}, db.CommentFilter{})
		if err != nil {
			t.Fatal(err)
		}
		page, _, _, _ := randomPage(random, whole.Places)
		page.Order = order
		var parents []int64 // some of which are not there, and some twice
		for range random.IntN(8) {
			parents = append(parents, int64(random.IntN(20)-3))
		}
		comments, err := r.CommentsOn(ctx, parents, page)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := r.MessagesBy(ctx, parents, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range parents {
			oneComments, err := r.ListComments(ctx, page, db.CommentFilter{MessageID: &id})
			if err != nil {
				t.Fatal(err)
			}
			oneMessages, err := r.ListMessages(ctx, page, db.MessageFilter{AuthorID: &id})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(comments[id]), fmt.Sprint(oneComments); got != want {
				t.Errorf("seed %d, comments on %d of %d, %+v: got %s, want %s", seed, id, parents, page, got, want)
			}
			if got, want := fmt.Sprint(messages[id]), fmt.Sprint(oneMessages); got != want {
				t.Errorf("seed %d, messages by %d of %d, %+v: got %s, want %s", seed, id, parents, page, got, want)
			}
		}
		for id := range comments {
			if !slices.Contains(parents, id) {
				t.Errorf("got comments on %d, which was not asked for: %d", id, parents)
			}
		}
	}
	for _, parents := range [][]int64{nil, {}, {-1}} {
		messages, err := r.MessagesBy(ctx, parents, db.Page{Limit: 10})
		if err != nil || len(messages) > 0 {
			t.Errorf("messages by %v: got %v, %v", parents, messages, err)
		}
		comments, err := r.CommentsOn(ctx, parents, db.Page{Limit: 10})
		if err != nil || len(comments) > 0 {
			t.Errorf("comments on %v: got %v, %v", parents, comments, err)
		}
	}
}

// What stands in a filter is looked for as it is.
func TestListText(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	run(`insert into users (username, display_name) values ('Ünal_1', '100% Ünal'), ('ЁЖ', 'it''s "quoted"'), ('back\slash', 'back/slash'), ('plain', 'Plain')`)
	texts := []string{`100%`, `100 percent`, `a_b`, `aXb`, `back\slash`, `back\\slash`, `it's`, `"quoted"`, `$1 and ?`, `{}`, `ЁЖ ë`, `ёж Ë`, `'; drop table users; --`, `字`}
	for _, text := range texts {
		run(`insert into messages (author_id, title, content) values (1, 'a title', $1)`, text)
		run(`insert into messages (author_id, title, content) values (1, $1, '')`, text)
		run(`insert into comments (message_id, author_id, content) values (1, 1, $1)`, text)
	}
	r := c.Read()
	for _, part := range slices.Concat(texts, []string{`%`, `_`, `\`, `\\`, `'`, `"`, `?`, `$1`, `%%`, `\%`, `ЁЖ`, `ёж`, `none`, `A_B`}) {
		want := 0
		for _, text := range texts {
			if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
				want++
			}
		}
		messages, err := r.ListMessages(t.Context(), db.Page{Limit: 100}, db.MessageFilter{Text: part})
		if err != nil || len(messages.Rows) != 2*want {
			t.Errorf("messages with %q: got %d, %v, want %d", part, len(messages.Rows), err, 2*want)
		}
		comments, err := r.ListComments(t.Context(), db.Page{Limit: 100}, db.CommentFilter{Text: part})
		if err != nil || len(comments.Rows) != want {
			t.Errorf("comments with %q: got %d, %v, want %d", part, len(comments.Rows), err, want)
		}
	}
	for part, want := range map[string]int{"ünal": 1, "_": 1, "%": 1, `\`: 1, "/": 1, "ёж": 1, `"QUOTED"`: 1, "a": 3, "": 4} {
		users, err := r.ListUsers(t.Context(), db.Page{Limit: 100, Order: db.ByName}, db.UserFilter{Text: part})
		if err != nil || len(users.Rows) != want {
			t.Errorf("users with %q: got %+v, %v, want %d", part, users.Rows, err, want)
		}
	}

	for name, want := range map[string]string{"ünAL_1": "Ünal_1", "ёж": "ЁЖ", "PLAIN": "plain", "ünalX1": "", "%": "", "": ""} {
		u, err := r.UserNamed(t.Context(), name)
		if err != nil || (u == nil) != (want == "") || u != nil && u.Username != want {
			t.Errorf("the user named %q: got %+v, %v, want %q", name, u, err, want)
		}
	}
}

// What cannot be a value is the asker's mistake, not the database's.
func TestListOfWhatCannotBe(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 3, 3, 3)
	r := c.Read()
	for what, err := range map[string]error{
		"a NUL": func() error {
			_, err := r.ListMessages(t.Context(), db.Page{Limit: 1}, db.MessageFilter{Text: "a\x00b"})
			return err
		}(),
		"a NUL in a name": func() error {
			_, err := r.UserNamed(t.Context(), "\x00")
			return err
		}(),
		"a place that is no time": func() error {
			_, err := r.ListMessages(t.Context(), db.Page{Limit: 1, After: &db.Place{Key: "x", ID: 1}}, db.MessageFilter{})
			return err
		}(),
		"a place out of all time": func() error {
			_, err := r.CommentsOn(t.Context(), []int64{1}, db.Page{Limit: 1, Before: &db.Place{Key: "300000-01-01", ID: 1}})
			return err
		}(),
	} {
		var invalid *db.InvalidError
		if !errors.As(err, &invalid) || errors.Is(err, db.ErrUnavailable) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// A place is good in every session, however that prints times.
func TestListPlacesUnderSettings(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	c, run := channel(t, address)
	fill(run, 20, 50, 0)
	run(`update messages set created_at = '1890-01-01' where id = 1; update messages set created_at = '0044-03-15 BC' where id = 2`)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("datestyle", "SQL,DMY")
	query.Set("timezone", "Asia/Kolkata")
	u.RawQuery = query.Encode()
	elsewhere, err := db.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(elsewhere.Close)
	readings := []*db.Reading{c.Read(), (&db.Channel{DB: elsewhere}).Read()}
	seen := []int64{}
	for page := (db.Page{Limit: 3}); ; {
		listed, err := readings[len(seen)%2].ListMessages(t.Context(), page, db.MessageFilter{})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, partOf(listed, messageID).ids...)
		if !listed.More || len(seen) > 100 {
			break
		}
		page.After = &listed.Places[len(listed.Places)-1]
	}
	if want := ask[int64](t, c, `select id from messages order by created_at desc, id desc`); !slices.Equal(seen, want) {
		t.Errorf("got %d, want %d", seen, want)
	}
}

// Rows and counts are read by id.
func TestRowsByID(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 4, 20, 30)
	r := c.Read()
	ctx := t.Context()
	ids := []int64{3, 1, 3, 99, -1}
	users, err := r.Users(ctx, ids)
	if err != nil || len(users) != 2 || users[1].ID != 1 || users[3].DisplayName != "Nummer 3" {
		t.Errorf("got %+v, %v", users, err)
	}
	messages, err := r.Messages(ctx, ids)
	if err != nil || len(messages) != 2 || messages[3].ID != 3 || messages[3].CreatedAt.IsZero() {
		t.Errorf("got %+v, %v", messages, err)
	}
	comments, err := r.Comments(ctx, ids)
	if err != nil || len(comments) != 2 || comments[3].ID != 3 || comments[3].MessageID == 0 {
		t.Errorf("got %+v, %v", comments, err)
	}
	none, err := r.Users(ctx, nil)
	if err != nil || len(none) > 0 {
		t.Errorf("got %+v, %v", none, err)
	}
	byMessage, err := r.CountComments(ctx, []int64{1, 2, 99})
	if err != nil || byMessage[99] != 0 {
		t.Errorf("got %v, %v", byMessage, err)
	}
	byAuthor, err := r.CountMessages(ctx, []int64{1, 2, 3, 4, 5})
	if err != nil || byAuthor[1]+byAuthor[2]+byAuthor[3]+byAuthor[4] != 20 || byAuthor[5] != 0 {
		t.Errorf("got %v, %v", byAuthor, err)
	}
	if want := ask[int](t, c, `select count(*)::int from comments where message_id = 1`); byMessage[1] != want[0] {
		t.Errorf("message 1: got %d comments, want %d", byMessage[1], want[0])
	}
	if n := r.Statements(); n != 6 {
		t.Errorf("got %d statements, want 6", n)
	}
}

// However many rows there are, and many of one time, a page is found by an index: nothing else is looked at, or sorted.
func TestListPlans(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	run(`select tidings.unwatch('messages'), tidings.unwatch('comments')`)
	at := `'2026-01-01'::timestamptz + n / 200 * interval '1 second' from generate_series(1, 20000) n`
	run(`insert into users (username, display_name, created_at) select 'User' || n, 'User', ` + at)
	run(`insert into messages (author_id, title, content, created_at) select 1 + n % 100, 'title', '', ` + at)
	run(`insert into comments (message_id, author_id, content, created_at) select 1 + n % 100, 1 + n % 100, 'text', ` + at)
	run(`analyze`)
	for _, order := range []db.Order{db.NewestFirst, db.OldestFirst, db.ByName} {
		half, err := c.Read().ListUsers(t.Context(), db.Page{Limit: 10000, Order: order}, db.UserFilter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range []*db.Place{nil, &half.Places[9999]} {
			for _, fromEnd := range []bool{false, true} {
				for name, s := range db.ListStatements(db.Page{Limit: 10, After: after, FromEnd: fromEnd, Order: order}) {
					plan := strings.Join(ask[string](t, c, `explain `+s.SQL, s.Args...), "\n")
					// The pages of many are sorted, and names that are the same but for their id, which none are.
					pages := strings.Split(plan, "Limit")
					page := pages[len(pages)-1]
					if strings.Contains(plan, "Seq Scan") ||
						name != "users by name" && (strings.Contains(page, "Sort") || strings.Contains(page, "Filter")) {
						t.Errorf("%s in order %d, after %v, from the end %t:\n%s", name, order, after, fromEnd, plan)
					}
				}
			}
		}
	}
}
