package http_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tidings/db/dbtest"
	tidingshttp "tidings/http"
	"tidings/realtime"
)

// page is the body of GET /channels/….
type page struct {
	Channel string            `json:"channel"`
	Cursor  string            `json:"cursor"`
	Rows    []json.RawMessage `json:"rows"`
	Next    *string           `json:"next"`
}

func (p page) texts() []string {
	texts := []string{}
	for _, r := range p.Rows {
		texts = append(texts, string(r))
	}
	return texts
}

// load gets a page of a channel.
func (s *service) load(channel, query string) page {
	s.t.Helper()
	a := s.get("/channels/" + url.PathEscape(channel) + "?" + query)
	var p page
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("%s %s is answered with %d, %v, %.1000s: %v", channel, query, a.status, a.header, a.body, err)
	}
	if p.Channel != channel || p.Cursor == "" || p.Rows == nil || a.header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("%s %s is answered with %v, %.1000s", channel, query, a.header, a.body)
	}
	return p
}

// loadAll gets page after page, and returns the rows and the cursor of the first.
func (s *service) loadAll(channel, query string) (rows []string, pages int, cursor string) {
	s.t.Helper()
	p := s.load(channel, query)
	rows, pages, cursor = p.texts(), 1, p.Cursor
	for ; p.Next != nil; pages++ {
		if pages > 1000 {
			s.t.Fatalf("the pages of %s have no end", channel)
		}
		p = s.load(channel, query+"&after="+url.QueryEscape(*p.Next))
		rows = append(rows, p.texts()...)
	}
	return rows, pages, cursor
}

// What is loaded is what the events told, and the cursor is where to follow from.
func TestLoadChannels(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table documents (id int primary key, body json, price numeric, at timestamptz, secret text)`)
	d.exec(`select tidings.watch('documents', columns => '{id,body,at,price}', read => 'public')`)
	d.exec(`create table "Odd ""Names""" ("a b" text, "Id" int, primary key ("Id", "a b"))`)
	d.exec(`select tidings.watch('"Odd ""Names"""', topic => 'odd/names %2F?', event => 'odd', key => 'a b', read => 'public')`)
	d.exec(`create table lines (v text)`)
	d.exec(`select tidings.watch('lines', read => 'public')`)
	d.exec(`create table days (id int, day int, v text, primary key (id, day)) partition by range (day)`)
	d.exec(`create table days_1 partition of days for values from (1) to (10)`)
	d.exec(`create table days_2 partition of days for values from (10) to (20)`)
	d.exec(`select tidings.watch('days', key => 'day', read => 'public')`)
	s := start(t, d.url, options{})
	channels := []string{"documents", "odd/names %2F?", "lines", "days", "messages", "comments"}
	c := s.dial(channels...)
	d.exec(`insert into documents values (2, '{"b" : 1,
		"a":	[1.0]}', 1.50, '2024-02-03 04:05:06.123456+05', 'secret'), (1, null, 'NaN', 'infinity', 'secret')`)
	d.exec(`insert into "Odd ""Names""" values ('x/y z?', 1), ('a', 2), ('ключ', 3), ('..', 4), ('a', 1)`)
	d.exec(`insert into lines values ('a'), ('a'), ('b')`)
	d.exec(`insert into days values (1, 5, 'x'), (2, 15, 'y'), (1, 15, 'z')`)
	id := d.message("with \"quotes\"\tand others: €😀")
	d.comment(id, "one")
	told := make(map[string][]string) // by channel, the topics' and the keys'
	for range 2 + 5 + 3 + 3 + 2 {
		f := c.next()
		told[f.Channel] = append(told[f.Channel], string(f.Data))
		if topic, _, keyed := strings.Cut(f.Channel, ":"); keyed {
			told[topic] = append(told[topic], string(f.Data))
		}
	}
	for channel, want := range told {
		rows, _, cursor := s.loadAll(channel, "")
		if got := slices.Sorted(slices.Values(rows)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: got\n%s\nwant\n%s", channel, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		follower := s.dialQuery(url.Values{"channel": {channel}, "since": {cursor}}.Encode())
		follower.expect("subscribed") // and nothing before
	}
	if len(told) < len(channels)+10 {
		t.Errorf("only these were looked at: %v", told)
	}
	for channel, want := range map[string]int{"messages:abc": 0, "messages:99": 0, "documents:1": 1, "odd/names %2F?:a": 2, "days:15": 2, "days:99999999999": 0} {
		if rows, _, _ := s.loadAll(channel, ""); len(rows) != want {
			t.Errorf("%s has the rows %q, want %d", channel, rows, want)
		}
	}

	// In the order of the primary key.
	for query, want := range map[string]string{"": "1 2", "order=asc": "1 2", "order=desc": "2 1", "order=desc&limit=1": "2", "limit=1": "1"} {
		var ids []string
		for _, r := range s.load("documents", query).Rows {
			var row struct{ ID int }
			if err := json.Unmarshal(r, &row); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, fmt.Sprint(row.ID))
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: got the ids %s, want %s", query, got, want)
		}
	}
}

// Pages cover each row once, both ways, whatever their size, also where other rows come and go meanwhile.
func TestLoadPages(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table pairs (a int, b text, primary key (b, a))`)
	d.exec(`insert into pairs select i % 7, chr(97 + i % 11) || ' "' || (i / 77) from generate_series(0, 299) as i`)
	d.exec(`select tidings.watch('pairs', key => 'a', read => 'public')`)
	s := start(t, d.url, options{server: tidingshttp.Options{PageRows: 120, PageBytes: 8192}})
	want := query[[]string](d, `select array_agg(to_json(p)::text order by b, a) from pairs p`)
	backwards := slices.Clone(want)
	slices.Reverse(backwards)
	for _, limit := range []int{1, 7, 100, 120} {
		if limit == 1 {
			limit = 13
		}
		for order, want := range map[string][]string{"asc": want, "desc": backwards} {
			rows, pages, _ := s.loadAll("pairs", fmt.Sprintf("order=%s&limit=%d", order, limit))
			if !slices.Equal(rows, want) {
				t.Errorf("%s by %d: got %d rows, %.300q", order, limit, len(rows), rows)
			}
			// Each row counts for its bytes and 256 more, so a page has 29 at most.
			if least := 300 / limit; pages < least || limit >= 100 && pages < 300/30 {
				t.Errorf("%s by %d: %d pages", order, limit, pages)
			}
		}
	}
	some := query[[]string](d, `select array_agg(to_json(p)::text order by b, a) from pairs p where a = 3`)
	if rows, _, _ := s.loadAll("pairs:3", "limit=5"); !slices.Equal(rows, some) {
		t.Errorf("of the key 3 there are %q, want %q", rows, some)
	}

	p := s.load("pairs", "limit=20")
	got := p.texts()
	for i := 0; p.Next != nil; i++ {
		d.exec(`insert into pairs values ($1, '!before')`, i)
		d.exec(`delete from pairs where to_json(pairs)::text = $1`, got[len(got)-1]) // the one behind which it goes on
		p = s.load("pairs", "limit=20&after="+*p.Next)
		got = append(got, p.texts()...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("while others come and go: got %d rows, want %d", len(got), len(want))
	}
}

func TestLoadBounds(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table lines (v text)`)
	d.exec(`insert into lines select i::text from generate_series(1, 20) as i`)
	d.exec(`select tidings.watch('lines', read => 'public')`)
	s := start(t, d.url, options{server: tidingshttp.Options{PageRows: 50, PageBytes: 10_000}})

	// Without a primary key there is one page, or none.
	if rows, _, _ := s.loadAll("lines", "limit=20"); len(rows) != 20 {
		t.Errorf("got %d rows", len(rows))
	}
	for query, status := range map[string]int{"limit=19": http.StatusUnprocessableEntity, "limit=50": http.StatusOK, "order=desc": http.StatusOK} {
		if a := s.get("/channels/lines?" + query); a.status != status || status != http.StatusOK && !strings.Contains(a.body, "snapshot_too_large") {
			t.Errorf("%s: got %d, %s", query, a.status, a.body)
		}
	}
	d.exec(`insert into lines select i::text from generate_series(1, 40) as i`)
	if a := s.get("/channels/lines"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("got %d, %s", a.status, a.body)
	}

	// One row at least, though it be large; one too large to be told is null.
	d.exec(`update tidings.settings set max_value_bytes = 100000`)
	d.exec(`select tidings.refresh()`)
	c := s.dial("messages")
	for _, size := range []int{1, 50_000, 200_000, 1} {
		d.exec(`insert into messages (author_id, title, content) values (1, 'x', repeat('x', $1))`, size)
	}
	var told []string
	for range 4 {
		told = append(told, string(c.expect("message_added").Data))
	}
	rows, pages, _ := s.loadAll("messages", "")
	if !slices.Equal(rows, told) || rows[2] != "null" || pages != 2 {
		t.Errorf("got %d pages, %.200q", pages, rows)
	}
	c.send(`{"type":"switch","channel":"messages","snapshot":true}`)
	c.expect("unsubscribed")
	for i, want := range told {
		f := c.expect("row")
		if string(f.Data) != want || f.Omitted != (i == 2) || f.ID != "" || f.At != "" || f.Cursor != "" || f.Channel != fmt.Sprintf("messages:%d", i+1) {
			t.Errorf("got %.300s", f.text)
		}
	}
	if f := c.expect("loaded"); !strings.Contains(f.text, `"rows":4`) || f.Channel != "messages" || f.Cursor == "" {
		t.Errorf("got %s", f.text)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for range 3 {
		d.message("a message")
	}
	d.exec(`create table secrets (id int primary key)`)
	d.exec(`select tidings.watch('secrets')`)
	d.exec(`create table dropped (id int primary key)`)
	d.exec(`select tidings.watch('dropped', read => 'public')`)
	d.exec(`create table lines (v text)`)
	d.exec(`select tidings.watch('lines', read => 'public')`)
	s := start(t, d.url, options{server: tidingshttp.Options{PageRows: 500}})
	d.exec(`drop table dropped`)
	place := func(v any) string { return base64.RawURLEncoding.EncodeToString([]byte(mustJSON(t, v))) }
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"nothing":                                {http.StatusNotFound, "unknown_channel"},
		"dropped":                                {http.StatusNotFound, "unknown_channel"},
		"lines:5":                                {http.StatusNotFound, "unknown_channel"},
		"secrets":                                {http.StatusForbidden, "forbidden"},
		"secrets:1":                              {http.StatusForbidden, "forbidden"},
		"":                                       {http.StatusBadRequest, "bad_channel"},
		":1":                                     {http.StatusBadRequest, "bad_channel"},
		"messages:":                              {http.StatusBadRequest, "bad_channel"},
		"messages%00":                            {http.StatusBadRequest, "bad_channel"},
		"messages%ff":                            {http.StatusBadRequest, "bad_channel"},
		"messages?limit=0":                       {http.StatusBadRequest, "bad_request"},
		"messages?limit=-1":                      {http.StatusBadRequest, "bad_request"},
		"messages?limit=501":                     {http.StatusBadRequest, "bad_request"},
		"messages?limit=x":                       {http.StatusBadRequest, "bad_request"},
		"messages?limit=":                        {http.StatusBadRequest, "bad_request"},
		"messages?order=up":                      {http.StatusBadRequest, "bad_request"},
		"messages?since=x":                       {http.StatusBadRequest, "bad_request"},
		"messages?%zz":                           {http.StatusBadRequest, "bad_request"},
		"messages?after=":                        {http.StatusBadRequest, "bad_request"},
		"messages?after=!":                       {http.StatusBadRequest, "bad_request"},
		"messages?after=1":                       {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place(1):             {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place(nil):           {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place([]string{}):    {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place([]string{"x"}): {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place([]string{"1", "2"}): {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place([]any{nil}):         {http.StatusBadRequest, "bad_request"},
		"messages?after=" + place([]string{"\x00"}):   {http.StatusBadRequest, "bad_request"},
		"lines?after=" + place([]string{"1"}):         {http.StatusBadRequest, "bad_request"},
	} {
		a := s.get("/channels/" + path)
		if a.status != want.status || !strings.Contains(a.body, `"code":"`+want.code+`"`) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%.100s: got %d, %s; want %d, %s", path, a.status, a.body, want.status, want.code)
		}
	}
	if a := s.get("/channels/messages?after=" + place([]string{"1"})); a.status != http.StatusOK {
		t.Errorf("got %d, %s", a.status, a.body)
	}
	if a := s.request("POST", "/channels/messages", nil); a.status == http.StatusOK {
		t.Errorf("POST is answered with %d", a.status)
	}
	if a := s.request("HEAD", "/channels/messages", nil); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD is answered with %d, %s", a.status, a.body)
	}
	// A subscription with rows that cannot be read ends in an error, and not in silence.
	d.exec(`create table more (id int primary key)`)
	d.exec(`select tidings.watch('more', read => 'public')`)
	c := s.dial("more")
	d.exec(`drop table more`)
	c.send(`{"type":"switch","channel":"more","snapshot":true}`)
	c.expect("unsubscribed")
	c.expectError("unknown_channel")
	c.send(`{"type":"subscribe","channel":"messages","snapshot":true}`)
	for range 3 {
		c.expect("row")
	}
	c.expect("loaded")
	c.expect("subscribed")
}

// More rows than may wait for a client are loaded page by page.
func TestSnapshotTooLarge(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into messages (author_id, title, content) select 1, i::text, repeat('x', 100) from generate_series(1, 100) as i`)
	s := start(t, d.url, options{hub: realtime.Options{QueueBytes: 20_000}})
	many := make([]*client, 10)
	for i := range many {
		many[i] = s.dialQuery("channel=messages&channel=comments&snapshot=true")
	}
	for _, c := range many {
		if f := c.expectError("snapshot_too_large"); f.Channel != "messages" {
			t.Errorf("got %s", f.text)
		}
		if f := c.expect("loaded"); f.Channel != "comments" || !strings.Contains(f.text, `"rows":0`) {
			t.Errorf("got %s", f.text)
		}
		c.expect("subscribed")
	}
	e := s.events("HTTP/1.1", "channel=messages&snapshot=true", "")
	if f := e.expect("error"); f.Code != "snapshot_too_large" {
		t.Errorf("got %s", f.text)
	}
	rows, _, cursor := s.loadAll("messages", "limit=30")
	if len(rows) != 100 {
		t.Errorf("got %d rows", len(rows))
	}
	d.message("after")
	follower := s.dialQuery("channel=messages&since=" + cursor)
	f := follower.next()
	if f.Type == "subscribed" {
		f = follower.next()
	}
	if f.Type != "message_added" || f.row(t).Title != "after" {
		t.Errorf("got %s", f.text)
	}
}

func TestLoadDuringOutage(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	d.message("a row")
	s := start(t, d.url, options{})
	before := s.load("messages", "")
	cluster.Stop()
	for _, path := range []string{"/channels/messages", "/channels/messages:1", "/channels/nothing"} {
		a := s.get(path)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"code":"unavailable"`) {
			t.Errorf("%s: got %d, %v, %s", path, a.status, a.header, a.body)
		}
		if strings.Contains(a.body, "connect") || strings.Contains(a.body, "socket") {
			t.Errorf("%s: a driver's text goes out: %s", path, a.body)
		}
	}
	// Who subscribes now is given the rows when they can be read.
	waiting := s.dialQuery("channel=messages&snapshot=true")
	waiting.send(`{"type":"ping"}`)
	waiting.expect("pong")
	stream := s.events("HTTP/2.0", "channel=messages&snapshot=true", "")
	if a := s.get("/events?channel=nothing"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d, %v, %s", a.status, a.header, a.body)
	}
	cluster.Start()
	d.pool.Reset()
	for _, next := range []func() frame{waiting.next, stream.next} {
		for _, typ := range []string{"row", "loaded", "subscribed"} {
			if f := next(); f.Type != typ {
				t.Fatalf("got %s, want %s", f.text, typ)
			}
		}
	}
	eventually(t, "the channel can be loaded again", func() bool { return s.get("/channels/messages").status == http.StatusOK })
	if after := s.load("messages", ""); !slices.Equal(after.texts(), before.texts()) {
		t.Errorf("got %q, want %q", after.texts(), before.texts())
	}
}
