package http_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/http/graph"
	"tidings/realtime"
)

// matrixTables has a table for each way to say who may read.
const matrixTables = `
	insert into users (username, display_name) values ('boris', 'Boris'), ('chloe', 'Chloé');
	create table posts (id int primary key, body text);
	create table members (id int primary key, body text);
	create table letters (id int primary key, owner text, body text);
	create table inbox (id int primary key, owner text, body text);
	create table rooms (id int primary key, body text);
	create table notes (id int primary key, owner text, team text, shared boolean not null default false, body text);
	create table lines (body text);
	create table pauses (id int primary key, body text);
	create function may_enter(claims jsonb, topic text, key text) returns boolean language sql as
		$$ select topic = 'rooms' and (key is not distinct from '7' or claims ->> 'team' = 'a' and key is distinct from '9') $$;
	alter table notes enable row level security;
	create policy own on notes for select using (owner = tidings.user_id());
	create policy team on notes for select using (shared and team = tidings.claims() ->> 'team');
	select tidings.watch('posts', read => 'public'), tidings.watch('members'), tidings.watch('letters', read => 'owner:owner'),
		tidings.watch('inbox', key => 'owner', read => 'owner:owner', event => 'inbox'), tidings.watch('rooms', read => 'policy:public.may_enter'),
		tidings.watch('notes'), tidings.watch('lines', read => 'public'), tidings.watch('pauses')`

// matrixWrites are what is written, each by a statement of its own.
var matrixWrites = []string{
	`insert into posts values (1, 'a'), (2, 'b')`,
	`insert into members values (1, 'a'), (2, 'b')`,
	`insert into letters values (1, '1', 'to 1'), (2, '2', 'to 2')`,
	`update letters set owner = '2', body = 'passed on' where id = 1`,
	`insert into letters values (3, null, 'to nobody')`,
	`insert into inbox values (1, '1', 'for 1'), (2, '2', 'for 2')`,
	`update inbox set owner = '2', body = 'moved' where id = 1`,
	`insert into rooms values (1, 'one'), (7, 'seven'), (9, 'nine')`,
	`insert into notes values (1, '1', 'a', false, 'mine'), (2, '2', 'b', true, 'yours')`,
	`update notes set shared = true, body = 'ours' where id = 1`,
	`update notes set owner = '2' where id = 1`,
	`delete from notes where id = 2`,
	`insert into pauses values (1, 'before')`,
	`select tidings.unwatch('pauses')`,
	`insert into pauses values (2, 'unheard')`,
	`select tidings.watch('pauses')`,
	`insert into pauses values (3, 'after')`,
}

// matrixRow says what of a channel nobody, user 1, user 2 and user 3, of team a, are told and may load; ! is why not.
type matrixRow struct {
	channel string
	told    [4]string
	rows    [4]string
}

func alike(first string, others ...string) [4]string {
	row := [4]string{first, first, first, first}
	for i := range others {
		row[i+1] = others[i]
	}
	return row
}

const (
	no      = "!forbidden"
	unknown = "!unknown_channel"
)

var matrix = []matrixRow{
	{"posts", alike("added a, added b"), alike("a, b")},
	{"posts:1", alike("added a"), alike("a")},
	{"members", alike(no, "added a, added b", "added a, added b", "added a, added b"), alike(no, "a, b", "a, b", "a, b")},
	{"members:2", alike(no, "added b", "added b", "added b"), alike(no, "b", "b", "b")},
	{"letters", alike(no, "added to 1, deleted to 1", "added to 2, added passed on", ""), alike(no, "", "passed on, to 2", "")},
	{"letters:1", alike(no, "added to 1, deleted to 1", "added passed on", ""), alike(no, "", "passed on", "")},
	{"inbox", alike(no, "added for 1, deleted for 1", "added for 2, added moved", ""), alike(no, "", "moved, for 2", "")},
	{"inbox:1", alike(no, "added for 1, deleted for 1", no, no), alike(no, "", no, no)},
	{"inbox:2", alike(no, no, "added for 2, added moved", no), alike(no, no, "moved, for 2", no)},
	{"rooms", alike(no, no, no, "added one, added seven, added nine"), alike(no, no, no, "one, seven, nine")},
	{"rooms:1", alike(no, no, no, "added one"), alike(no, no, no, "one")},
	{"rooms:7", alike("added seven"), alike("seven")},
	{"rooms:9", alike(no), alike(no)},
	{"notes", alike(no, "added mine, updated ours, deleted ours", "added yours, added ours, deleted yours", "added ours, updated ours"), alike(no, "", "ours", "ours")},
	{"notes:1", alike(no, "added mine, updated ours, deleted ours", "added ours", "added ours, updated ours"), alike(no, "", "ours", "ours")},
	{"notes:2", alike(no, "", "added yours, deleted yours", ""), alike(no, "", "", "")},
	{"pauses", alike(no, "added before, added after", "added before, added after", "added before, added after"), alike(no, "before, unheard, after", "before, unheard, after", "before, unheard, after")},
	{"nowhere", alike(unknown), alike(unknown)},
	{"nowhere:1", alike(unknown), alike(unknown)},
	{"lines:1", alike(unknown), alike(unknown)},
}

// matrixPeople are the tokens: of those in a row, and of those who are refused whatever the channel.
func matrixPeople(t *testing.T) (tokens [4]string, refused map[string]string) {
	tokens = [4]string{"", tokenOf(t, "1", time.Hour, nil), tokenOf(t, "2", time.Hour, nil), tokenOf(t, "3", time.Hour, jwt.MapClaims{"team": "a"})}
	forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "1", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte("another secret that nobody has given to us"))
	if err != nil {
		t.Fatal(err)
	}
	return tokens, map[string]string{"expired": tokenOf(t, "1", -time.Minute, nil), "of another secret": forged}
}

var matrixNames = [4]string{"nobody", "user 1", "user 2", "user 3"}

// mark writes the last event of each channel that there is: the topics' first, since who follows a topic is told those of its keys.
func (d *database) mark() {
	d.t.Helper()
	for _, keyed := range []bool{false, true} {
		for _, row := range matrix {
			if strings.Contains(row.channel, ":") == keyed && row.told[3] != unknown {
				d.exec(`select tidings.broadcast($1, 'marker', json_build_object('of', $1::text))`, row.channel)
			}
		}
	}
}

// Everybody hears and loads exactly what he may, over each transport, from now on and behind a cursor, whosever that is.
func TestMatrix(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(matrixTables)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	tokens, refused := matrixPeople(t)
	// Cursors are made by user 2's connection, and by nobody's.
	others := transports["/ws"](s, asking{token: tokens[2], channel: "notes"}).hear().Cursor
	nobodys := transports["/ws"](s, asking{channel: "posts"}).hear().Cursor

	type listener struct {
		what      string
		of        *hearing
		row       matrixRow
		who       int
		transport string
	}
	var live []listener
	subscriptions := 2
	for transport, open := range transports {
		for _, row := range matrix {
			if row.channel == "pauses" {
				continue // is lost in between
			}
			for who, token := range tokens {
				h := open(s, asking{token: token, channel: row.channel})
				live = append(live, listener{"subscribe", h, row, who, transport})
				if !strings.HasPrefix(row.told[who], "!") {
					subscriptions++
				}
			}
		}
	}
	s.awaitSubscriptions(subscriptions)
	for _, sql := range matrixWrites {
		d.exec(sql)
	}
	d.mark()
	check := func(l listener) {
		t.Helper()
		if got := l.of.marked(l.row.channel); got != l.row.told[l.who] {
			t.Errorf("%s, %s of %s by %s: got %q, want %q", l.transport, l.what, l.row.channel, matrixNames[l.who], got, l.row.told[l.who])
		}
	}
	for _, l := range live {
		check(l)
	}
	for _, transport := range slices.Sorted(maps.Keys(transports)) {
		open := transports[transport]
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			for _, row := range matrix {
				for who, token := range tokens {
					// A cursor is of no channel and nobody: it gives no rights.
					since := others
					if who == 2 {
						since = nobodys
					}
					check(listener{"resume", open(s, asking{token: token, channel: row.channel, since: since}), row, who, transport})
					if strings.HasPrefix(transport, "GraphQL") {
						continue // a query loads, and gives a cursor
					}
					h := open(s, asking{token: token, channel: row.channel, snapshot: true})
					if got := h.rows(); got != row.rows[who] {
						t.Errorf("%s, snapshot of %s by %s: got %q, want %q", transport, row.channel, matrixNames[who], got, row.rows[who])
					}
				}
				for who, token := range refused {
					for _, a := range []asking{{}, {since: others}, {snapshot: true}} {
						a.token, a.channel = token, row.channel
						if h := open(s, a); h.refused != "unauthenticated" {
							t.Errorf("%s of %s with a token that is %s: got %q", transport, row.channel, who, h.refused)
						}
					}
				}
			}
		})
	}
	t.Run("/channels", func(t *testing.T) {
		t.Parallel()
		s := s.in(t)
		for _, row := range matrix {
			for who, token := range tokens {
				if got := s.loads(row.channel, token); got != row.rows[who] {
					t.Errorf("load of %s by %s: got %q, want %q", row.channel, matrixNames[who], got, row.rows[who])
				}
			}
			for who, token := range refused {
				if got := s.loads(row.channel, token); got != "!unauthenticated" {
					t.Errorf("load of %s with a token that is %s: got %q", row.channel, who, got)
				}
			}
		}
	})
}

// rows are those that come first.
func (h *hearing) rows() string {
	h.t.Helper()
	if h.refused != "" {
		return "!" + h.refused
	}
	var bodies []string
	for {
		switch e := h.hear(); e.Type {
		case realtime.TypeRow:
			bodies = append(bodies, e.Data.Body)
		case "loaded":
			return strings.Join(bodies, ", ")
		default:
			return strings.Join(append(bodies, e.line()), ", ")
		}
	}
}

// loads are the rows of GET /channels/….
func (s *service) loads(channel, token string) string {
	s.t.Helper()
	a := s.request("GET", "/channels/"+url.PathEscape(channel), authorization(token))
	if a.status != http.StatusOK {
		return "!" + s.refusedWith(a.status, a.body).refused
	}
	bodies := []string{}
	for _, row := range decode[struct{ Rows []struct{ Body string } }](s.t, a.body).Rows {
		bodies = append(bodies, row.Body)
	}
	return strings.Join(bodies, ", ")
}

// Queries, and what is nested in them, give what can be followed, and nothing else does.
func TestMatrixOfQueries(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Boris'), ('chloe', 'Chloé');
		create function may_enter(claims jsonb, topic text, key text) returns boolean language sql as $$ select claims ->> 'team' = 'a' $$`)
	d.comment(d.message("a message"), "a comment")
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	tokens, refused := matrixPeople(t)
	documents := map[string][]string{
		"messages": {`{ messages { nodes { title } } }`, `{ message(id: 1) { title } }`, `{ user(id: 1) { messages { nodes { title } } } }`, `{ user(id: 1) { messageCount } }`},
		"comments": {`{ comments { nodes { content } } }`, `{ comment(id: 1) { content } }`},
		"both":     {`{ message(id: 1) { comments { nodes { content } } } }`, `{ message(id: 1) { commentCount } }`, `{ comment(id: 1) { message { title } } }`},
	}
	for read, may := range map[string][4]bool{
		`update tidings.watches set read = 'public' where topic = '%s'`:                  {true, true, true, true},
		`update tidings.watches set read = 'signed_in' where topic = '%s'`:               {false, true, true, true},
		`update tidings.watches set read = 'policy:public.may_enter' where topic = '%s'`: {false, false, false, true},
		`select tidings.watch('%s', read => 'owner:author_id')`:                          {},
		`alter table %s enable row level security; select tidings.watch('%[1]s')`:        {},
	} {
		for _, topic := range []string{"messages", "comments"} {
			d.exec(`update tidings.watches set read = 'public'; alter table messages disable row level security; alter table comments disable row level security`)
			d.exec(fmt.Sprintf(read, topic))
			s.refreshTopics()
			var asking sync.WaitGroup // each waits until it is known what is watched
			for of, list := range documents {
				for _, document := range list {
					for who, token := range tokens {
						asking.Go(func() {
							got := s.ask(graphRequest{Query: document}, authorization(token))
							wants := of != topic && of != "both" || may[who]
							has := strings.Contains(string(got.Data), "a message") || strings.Contains(string(got.Data), "a comment") || strings.Contains(string(got.Data), "Count\":1")
							if wants != (len(got.Errors) == 0) || wants != has || !wants && got.Errors[0].code() != graph.CodeForbidden {
								t.Errorf("%s, %s by %s: got %s %v", fmt.Sprintf(read, topic), document, matrixNames[who], got.Data, got.Errors)
							}
						})
					}
					for who, token := range refused {
						asking.Go(func() {
							if got := s.ask(graphRequest{Query: document}, authorization(token)); got.Data != nil || len(got.Errors) != 1 || got.Errors[0].code() != graph.CodeUnauthenticated {
								t.Errorf("%s with a token that is %s: got %s %v", document, who, got.Data, got.Errors)
							}
						})
					}
				}
			}
			asking.Wait()
			// The page asks for what there is, as who looks at it.
			if page := s.get("/").body; strings.Contains(page, "a message") || strings.Contains(page, "a comment") {
				t.Errorf("%s: the page has what is not for everybody", fmt.Sprintf(read, topic))
			}
		}
	}
}

// refreshTopics returns when the service knows what is watched: who asks for what is not there has it look.
func (s *service) refreshTopics() {
	s.t.Helper()
	if got := s.loads("nowhere", ""); got != unknown {
		s.t.Fatalf("got %s", got)
	}
}

// Everybody writes what is his, and those whose role it is what is others'.
func TestMatrixOfMutations(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name, role) values ('boris', 'Boris', 'member'), ('chloe', 'Chloé', 'member'), ('mod', 'Mod', 'moderator'), ('root', 'Root', 'admin')`)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	_, refused := matrixPeople(t)
	const unsigned, ok = "UNAUTHENTICATED", ""
	tokens := map[string]string{"nobody": ""}
	for user, name := range []string{1: "author", 2: "commenter", 3: "member", 4: "moderator", 5: "admin"} {
		if name != "" {
			tokens[name] = token(t, fmt.Sprint(user), time.Hour)
		}
	}
	maps.Copy(tokens, refused)
	names := []string{"nobody", "author", "commenter", "member", "moderator", "admin"}
	for _, row := range []struct {
		document string // %d: the message, and the comment
		want     [6]string
	}{
		{`createMessage(input: {title: "x", content: ""}) { message { id } }`, [6]string{unsigned}},
		{`createMessage(input: {authorId: 1, title: "x", content: ""}) { message { id } }`, [6]string{unsigned, ok, "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", "FORBIDDEN"}},
		{`createComment(input: {messageId: %[1]d, content: "x"}) { comment { id } }`, [6]string{unsigned}},
		{`createComment(input: {authorId: 2, messageId: %[1]d, content: "x"}) { comment { id } }`, [6]string{unsigned, "FORBIDDEN", ok, "FORBIDDEN", "FORBIDDEN", "FORBIDDEN"}},
		{`updateMessage(input: {id: %[1]d, title: "y"}) { message { id } }`, [6]string{unsigned, ok, "FORBIDDEN", "FORBIDDEN", ok, ok}},
		{`deleteMessage(input: {id: %[1]d}) { id }`, [6]string{unsigned, ok, "FORBIDDEN", "FORBIDDEN", ok, ok}},
		{`updateComment(input: {id: %[2]d, content: "y"}) { comment { id } }`, [6]string{unsigned, "FORBIDDEN", ok, "FORBIDDEN", ok, ok}},
		{`deleteComment(input: {id: %[2]d}) { id }`, [6]string{unsigned, "FORBIDDEN", ok, "FORBIDDEN", ok, ok}},
		{`updateUser(input: {id: 1, displayName: "A."}) { user { id } }`, [6]string{unsigned, ok, "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", ok}},
		{`updateUser(input: {displayName: "Self"}) { user { id } }`, [6]string{unsigned}},
		{`setRole(input: {userId: 1, role: MEMBER}) { user { role } }`, [6]string{unsigned, "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", ok}},
		{`updateMessage(input: {id: 0, title: "y"}) { message { id } }`, [6]string{unsigned, "NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND"}},
	} {
		for i, name := range append(slices.Clone(names), slices.Collect(maps.Keys(refused))...) {
			want := unsigned
			if i < len(names) {
				want = row.want[i]
			}
			message := d.message("title")
			comment := query[int64](d, `insert into comments (message_id, author_id, content) values ($1, 2, 'text') returning id`, message)
			state := func() string {
				return query[string](d, `select (select json_agg(m order by id)::text from messages m) || (select json_agg(c order by id)::text from comments c) || (select json_agg(u order by id)::text from users u)`)
			}
			before := state()
			document := "mutation { " + strings.NewReplacer("%[1]d", fmt.Sprint(message), "%[2]d", fmt.Sprint(comment)).Replace(row.document) + " }"
			a := s.ask(graphRequest{Query: document}, authorization(tokens[name]))
			code := ""
			if len(a.Errors) > 0 {
				code = a.Errors[0].code()
			}
			if code != want {
				t.Errorf("%s by %s: got %s %v, want %q", document, name, a.Data, a.Errors, want)
			}
			if code != "" && state() != before {
				t.Errorf("%s by %s: something was written", document, name)
			}
		}
	}
	// A role counts at the moment of the change.
	message := d.message("title")
	change := fmt.Sprintf(`mutation { updateMessage(input: {id: %d, title: "z"}) { message { title } } }`, message)
	s.graphAs(tokens["admin"], `mutation { setRole(input: {userId: 3, role: MODERATOR}) { user { role } } }`, `{"setRole":{"user":{"role":"MODERATOR"}}}`)
	s.graphAs(tokens["member"], change, `{"updateMessage":{"message":{"title":"z"}}}`)
	s.graphAs(tokens["admin"], `mutation { setRole(input: {userId: 3, role: MEMBER}) { user { role } } }`, `{"setRole":{"user":{"role":"MEMBER"}}}`)
	s.graphFails(tokens["member"], change, graph.CodeForbidden, "no role")
}
