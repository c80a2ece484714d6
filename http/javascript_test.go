package http_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/db/dbtest"
	tidingshttp "tidings/http"
	"tidings/realtime"
)

// What the tests have a client do: it is connected, all it is told is noted in a list, and in words that are short.
const javaScriptNotes = `(globalThis.said = [], globalThis.note = (name) => ({
	event: (e) => said.push([name, e.type, e.channel, e.data?.title ?? e.data?.content ?? e.data?.id ?? ''].join(' ')),
	signal: (e) => said.push([name, e.type, e.channel].join(' ')),
	rows: (rows, channel) => said.push([name, 'rows', channel, rows.length].join(' ')),
	live: (channel) => said.push([name, 'live', channel].join(' ')),
	reset: (channel, reason) => said.push([name, 'reset', channel, reason].join(' ')),
	error: (e) => said.push([name, 'error', e.channel ?? '', e.code, e.retryable].join(' ')),
}), null)`

// open connects a client, as globalThis.client, with what else is to be among its options.
func (n *inNode) open(s *service, more string) {
	n.t.Helper()
	n.run(javaScriptNotes)
	n.run(`(globalThis.states = [], globalThis.client = connect({ url: 'http://` + s.addr + `', backoff: { min: 10, max: 100 }, ` + more + ` }),
		client.onState((state, error) => states.push(error ? state + ' ' + error.code : state)), null)`)
}

// until waits until an expression is true.
func (n *inNode) until(code string) {
	n.t.Helper()
	n.run(`new Promise((resolve, reject) => {
		const begun = Date.now();
		const look = () => {
			if (` + code + `) resolve(null);
			else if (Date.now() - begun > 25_000) reject(new Error('it is still not so; said ' + JSON.stringify(globalThis.said) + ', states ' + JSON.stringify(globalThis.states) + JSON.stringify(Object.entries(globalThis.clients ?? {}).map(([name, { asked, states }]) => [name, asked, states]))));
			else setTimeout(look, 5);
		};
		look();
	})`)
}

// expect compares an expression's value.
func (n *inNode) expect(code string, want any) {
	n.t.Helper()
	wanted, err := json.Marshal(want)
	if err != nil {
		n.t.Fatal(err)
	}
	var a, b any
	got := n.run(code)
	if json.Unmarshal(got, &a) != nil || json.Unmarshal(wanted, &b) != nil || !reflect.DeepEqual(a, b) {
		n.t.Errorf("%s\n is %s\nwant %s", code, got, wanted)
	}
}

// expectSaid waits for what has been said since the last time.
func (n *inNode) expectSaid(want ...string) {
	n.t.Helper()
	n.until(fmt.Sprintf(`said.length >= %d`, len(want)))
	n.expect(`said.splice(0)`, want)
}

func (n *inNode) close() {
	n.t.Helper()
	n.run(`client.close()`)
	n.expect(`client.state`, "closed")
}

// Channels that overlap share a connection, and each subscription is told of each event once, in order.
func TestJavaScriptOverlap(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	n := startNode(t)
	first, second := d.message("first"), d.message("second")
	n.open(s, "")
	n.expect(`client.state`, "idle")
	n.run(`(globalThis.all = client.subscribe('messages', note('all')),
		globalThis.one = client.subscribe('messages:1', note('one')),
		globalThis.mixed = client.subscribe(['comments:1', 'messages', 'comments:2', 'messages:1', 'messages'], note('mixed')), null)`)
	n.expect(`client.state`, "connecting")
	n.run(`Promise.all([all, one, mixed].map((s) => s.ready))`)
	n.expect(`[client.links.size, client.state, mixed.live, mixed.channels]`,
		[]any{1, "live", true, []string{"comments:1", "messages", "comments:2", "messages:1"}})
	n.run(`(said.length = 0, null)`)
	s.awaitConnections(1)

	comment := d.comment(first, "c")
	d.exec(`update messages set title = 'changed' where id = 1`)
	d.exec(`update comments set message_id = $1 where id = $2`, second, comment)
	d.message("third")
	d.exec(`select tidings.broadcast('messages', 'wave')`)
	d.exec(`select tidings.broadcast('messages:1', 'wave')`)
	n.expectSaid("mixed comment_added comments:1 c", "all message_updated messages:1 changed", "one message_updated messages:1 changed",
		"mixed message_updated messages:1 changed", "mixed comment_updated comments:2 c", "all message_added messages:3 third",
		"mixed message_added messages:3 third", "all wave messages ", "mixed wave messages ", "all wave messages:1 ", "one wave messages:1 ", "mixed wave messages:1 ")
	d.exec(`truncate messages, comments`)
	n.until(`said.length === 4`) // the two tables in any order
	n.expect(`said.splice(0).sort()`, []string{"all messages_truncated messages ", "mixed comments_truncated comments ", "mixed messages_truncated messages ", "one messages_truncated messages "})

	// Who comes later, to what is live already, and who leaves, are nobody else's concern.
	n.run(`(globalThis.late = client.subscribe(['messages'], note('late')), late.ready)`)
	n.expectSaid("late live messages")
	n.run(`(all.close(), mixed.close(), client.subscribe('messages', note('brief')).close(), null)`)
	d.message("fourth")
	n.expectSaid("late message_added messages:4 fourth")
	s.awaitSubscriptionsTo("messages", 2)
	s.awaitSubscriptionsTo("comments", 0)
	n.run(`late.close()`)
	s.awaitSubscriptionsTo("messages", 1)

	// Rows come for who wants them, and a past for who has a cursor: apart, where others would have missed some of it.
	n.run(`(globalThis.rows = client.subscribe('messages', note('rows'), { rows: true }), rows.ready)`)
	n.expectSaid("rows rows messages 1", "rows live messages")
	n.run(`(globalThis.since = client.subscribe('messages:1', note('since'), { since: rows.cursor }), since.ready)`)
	n.expectSaid("since live messages:1")
	n.expect(`client.links.size`, 2)
	d.exec(`insert into messages (id, author_id, title, content) values (1, 1, 'again', '')`)
	n.until(`said.length === 3`)
	n.expect(`said.splice(0).sort()`, []string{"one message_added messages:1 again", "rows message_added messages:1 again", "since message_added messages:1 again"})
	n.run(`(one.close(), rows.close(), since.close(), null)`)
	n.expect(`client.state`, "idle")
	s.awaitConnections(0)

	// What nobody has asked for again is not connected for.
	n.run(`(client.subscribe('messages', {}).close(), null)`)
	n.expect(`[client.state, client.links.size]`, []any{"idle", 0})
	n.close()
	n.expect(`[states.slice(0, 3), states.slice(-4)]`, []any{[]string{"connecting", "catching up", "live"}, []string{"idle", "connecting", "idle", "closed"}})
}

// Channels that cannot be had are told of, and the others go on.
func TestJavaScriptErrors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table private (id int primary key); select tidings.watch('private')`)
	s := start(t, d.url, options{})
	n := startNode(t)
	n.open(s, "")
	n.run(`(globalThis.one = client.subscribe(['nothing', 'messages', 'private'], note('one')), one.ready)`)
	n.expectSaid("one error nothing unknown_channel false", "one error private forbidden false", "one live messages")
	n.expect(`[one.channels, one.live]`, []any{[]string{"messages"}, true})
	n.run(`(globalThis.none = client.subscribe('nothing', note('none')), null)`)
	n.expectSaid("none error nothing unknown_channel false")
	n.expect(`none.ready.then(() => 'ready', (e) => [e instanceof TidingsError, e instanceof Error, e.name, e.code, e.channel])`,
		[]any{true, true, "TidingsError", "unknown_channel", "nothing"})
	n.expect(`(async () => { const told = []; try { for await (const m of client.subscribe(['nothing', 'private'])) told.push(m.type + m.error.code) } catch (e) { told.push(e.code) } return told })()`,
		[]string{"errorunknown_channel", "forbidden"})
	for _, bad := range []string{`''`, `':5'`, `'messages:'`, `[]`, `['messages', 5]`, `'a\u0000'`, `'a\ud800'`, `'x'.repeat(513)`} {
		n.expect(`(() => { try { client.subscribe(`+bad+`, {}) } catch (e) { return e.code } })()`, "bad_channel")
	}
	n.expect(`(async () => { for await (const m of one); })().catch((e) => e.name)`, "TypeError")
	n.expect(`(() => { try { connect({ token: 'x' }) } catch (e) { return e.message } })()`, "connect needs a url: there is no page whose service could be meant")

	// What handlers throw is theirs.
	n.run(`(globalThis.thrown = [], process.on('uncaughtException', (e) => thrown.push(e.message)), null)`)
	n.run(`(globalThis.bad = client.subscribe('messages', { event: () => { throw new Error('of a handler') }, live: () => { throw new Error('of live') } }), bad.ready)`)
	d.message("hello")
	d.message("again")
	n.expectSaid("one message_added messages:1 hello", "one message_added messages:2 again")
	n.until(`thrown.length === 3`)
	n.expect(`thrown`, []string{"of live", "of a handler", "of a handler"})

	// A subscription that is lost later, as somebody may not have it any more.
	d.exec(`update tidings.watches set read = 'signed_in' where topic = 'messages'`)
	n.expectSaid("one error messages forbidden false")
	n.expect(`[bad.live, client.subs.size, client.state]`, []any{false, 0, "idle"})

	n.run(`(globalThis.abort = new AbortController(), globalThis.aborted = client.subscribe('comments', note('aborted'), { signal: abort.signal }), aborted.ready)`)
	n.expectSaid("aborted live comments")
	n.run(`abort.abort()`)
	n.expect(`[aborted.live, client.state]`, []any{false, "idle"})
	n.expect(`client.subscribe('comments', {}, { signal: abort.signal }).ready.catch((e) => e.code)`, "closed")
	n.close()
	n.run(`(globalThis.after = client.subscribe('messages', note('after')), null)`)
	n.expectSaid("after error  closed false")

	// A service that is not there.
	n.open(s, `url: 'http://127.0.0.1:1'`)
	n.run(`(client.subscribe('messages', {}), null)`)
	n.until(`states.length === 2`)
	n.expect(`states`, []string{"connecting", "offline unreachable"})
	n.expect(`client.load('messages').catch((e) => [e.code, e.retryable])`, []any{"unreachable", true})
	n.close()
}

// A page of rows, and what cannot be loaded.
func TestJavaScriptLoad(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table files (id int primary key, path text); select tidings.watch('files', key => 'path', read => 'public')`)
	d.exec(`insert into files select i, 'a/b:c' from generate_series(1, 5) i`)
	d.exec(`create table private (id int primary key); select tidings.watch('private')`)
	s := start(t, d.url, options{secret: secret})
	n := startNode(t)
	n.open(s, `token: (why) => globalThis.token?.(why)`)
	n.run(`(globalThis.page = await client.load('files:a/b:c', { limit: 2, order: 'desc' }), null)`)
	n.expect(`[page.channel, page.rows.map((r) => r.id), typeof page.cursor, typeof page.next]`, []any{"files:a/b:c", []int{5, 4}, "string", "string"})
	n.expect(`(async () => (await client.load('files:a/b:c', { order: 'desc', after: page.next })).rows.map((r) => r.id))()`, []int{3, 2, 1})
	n.expect(`client.load('nothing').catch((e) => [e.code, e.channel, e.retryable])`, []any{"unknown_channel", "nothing", false})
	n.expect(`client.load('files', { limit: -1 }).catch((e) => e.code)`, "bad_request")
	n.expect(`client.load('files', { signal: AbortSignal.abort() }).catch((e) => e.name)`, "AbortError")
	n.expect(`client.load('private').catch((e) => e.code)`, "forbidden")
	n.run(`(globalThis.asked = [], globalThis.token = (why) => { asked.push(why); return why === 'connect' ? 'old' : '` + tokenOf(t, "1", time.Hour, nil) + `' }, null)`)
	n.expect(`client.load('private').then((page) => page.rows)`, []any{})
	n.expect(`client.load('private').then((page) => page.rows)`, []any{})
	n.expect(`asked`, []string{"connect", "rejected"})
	n.run(`(globalThis.token = () => 'old', null)`)
	n.open(s, `token: () => 'old'`)
	n.expect(`client.load('private').catch((e) => e.code)`, "unauthenticated")
	n.expect(`client.state`, "idle")
}

// Who iterates slowly is told all, in order, while the client has only so much of it; and who breaks off has left.
func TestJavaScriptIterates(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	n := startNode(t)
	n.open(s, "")
	n.run(`(globalThis.slow = client.subscribe('messages', undefined, { rows: true, buffer: 10 }), globalThis.told = [], globalThis.go = () => {}, globalThis.most = 0, globalThis.ended = (async () => {
		for await (const message of slow) {
			told.push(message.type === 'message_added' ? message.data.title : message.type);
			if (told.length % 7 === 0) await new Promise((resolve) => { go = resolve });
			most = Math.max(most, slow.queue.length);
			if (message.data?.title === 'enough') break;
		}
		return 'ended';
	})(), slow.ready)`)
	d.exec(`insert into messages (author_id, title, content) select 1, i::text, '' from generate_series(1, 100) i`)
	n.until(`told.length === 7 && slow.resting`)
	n.expect(`[client.state, slow.live]`, []any{"catching up", false})
	n.expect(`(async () => { // what its cursor says is behind what was told
		const next = await new Promise((resolve) => { const s = client.subscribe('messages', { event: (e) => { s.close(); resolve(e.data.title) } }, { since: slow.cursor }) });
		return [told.at(-1), next];
	})()`, []string{"5", "6"})
	s.awaitConnections(0) // it has left
	n.run(`(globalThis.timer = setInterval(() => go(), 1), null)`)
	n.until(`told.includes('100') && slow.live`)
	d.message("enough")
	d.message("too much")
	n.expect(`ended`, "ended")
	n.run(`clearInterval(timer)`)
	want := []string{"rows", "live"}
	for i := range 100 {
		want = append(want, fmt.Sprint(i+1))
	}
	n.expect(`told.filter((title, i) => title !== 'live' || i < 2)`, append(want, "enough"))
	n.expect(`[most <= 10, client.state]`, []any{true, "idle"})
	s.awaitConnections(0)

	// Whoever else closes it ends the iteration.
	n.run(`(globalThis.other = client.subscribe('messages'), globalThis.ended = (async () => { for await (const m of other); return 'ended' })(), other.ready)`)
	n.close()
	n.expect(`ended`, "ended")
}

// A connection that is dead without a word is noticed, and so is the machine's return.
func TestJavaScriptSilence(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	network := newCutter(t, s.addr)
	n := startNode(t)
	n.open(s, `url: 'http://`+network.addr+`', heartbeat: { after: 100, timeout: 5000 }`)
	n.run(`client.subscribe('messages', note('a')).ready`)
	pause(t, 400*time.Millisecond) // pings are answered
	n.expect(`states`, []string{"connecting", "catching up", "live"})
	// Only what is silent is to be quickly so: whoever comes back may take his time.
	n.run(`(client.heartbeat.timeout = 1000, client.onState((state) => { if (state === 'offline') client.heartbeat.timeout = 20_000 }), null)`)
	network.stallAll()
	d.message("meanwhile")
	n.until(`said.length >= 3 && client.state === 'live'`)
	n.expect(`states.slice(3, 6)`, []string{"offline silent", "catching up", "live"})
	n.run(`(said.length = states.length = 0, null)`)

	// After a long pause it is tried at once, if it is asked to.
	n.run(`(client.backoff.min = client.backoff.max = 3_600_000, null)`)
	network.refuse(true)
	n.until(`client.state === 'offline'`)
	network.refuse(false)
	d.message("later")
	n.run(`client.reconnect()`)
	n.until(`said.length === 2`)
	n.expect(`said.splice(0).sort()`, []string{"a live messages", "a message_added messages:2 later"})
	network.cutAll()
	n.until(`client.state === 'offline'`)
	n.run(`client.wake()`)
	n.expectSaid("a live messages")
	n.close()
}

// A client that follows keeps its process, also while it is away, and one that is closed does not.
func TestJavaScriptProcess(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	n := startNode(t)
	n.open(s, "")
	n.run(`client.subscribe('messages', { event: (e) => { if (e.data.title === 'the end') client.close() } }).ready`)
	if err := n.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	s.end()
	pause(t, 300*time.Millisecond)
	s = start(t, d.url, options{listen: s.addr})
	s.awaitSubscriptionsTo("messages", 1)
	d.message("the end")
	n.end() // by itself
	s.awaitConnections(0)
}

// Rows that are too many to come at once are loaded page by page.
func TestJavaScriptManyRows(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{QueueBytes: 20_000}, server: tidingshttp.Options{PageRows: 30}})
	d.exec(`insert into messages (author_id, title, content) select 1, i::text, '' from generate_series(1, 200) i`)
	n := startNode(t)
	n.open(s, "")
	n.run(`(globalThis.rows = client.collect('messages'), globalThis.one = client.collect('messages:7'), globalThis.plain = client.subscribe('messages', note('plain')), Promise.all([rows.ready, one.ready, plain.ready]))`)
	n.expect(`[rows.rows.size, rows.live, one.snapshot().length]`, []any{200, true, 1})
	d.exec(`update messages set title = 'seven' where id = 7`)
	d.exec(`delete from messages where id > 190`)
	n.until(`rows.rows.size === 190 && rows.rows.get(7).title === 'seven' && one.snapshot()[0].title === 'seven'`)
	want := []string{"plain live messages", "plain message_updated messages:7 seven"}
	for i := range 10 {
		want = append(want, fmt.Sprintf("plain message_deleted messages:%d %[1]d", 191+i))
	}
	n.expectSaid(want...)
	n.close()
}

// Limits of the service are gone around: there are more connections, or it takes longer.
func TestJavaScriptLimits(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{MaxChannels: 10}, server: tidingshttp.Options{MaxCommandsPerSecond: 20, CommandBurst: 5}})
	n := startNode(t)
	n.open(s, "")
	n.run(`(async () => {
		globalThis.all = [];
		for (let i = 0; i < 25; i++) {
			all.push(client.subscribe('messages:' + i, note(i)));
			await new Promise((resolve) => setTimeout(resolve, 1));
		}
		all.push(client.subscribe(Array.from({ length: 12 }, (_, i) => 'comments:' + i), note('many')));
		await Promise.all(all.map((s) => s.ready));
	})()`)
	n.expect(`said.filter((s) => s.includes('error'))`, []string{"many error comments:10 too_many_channels false", "many error comments:11 too_many_channels false"})
	n.until(`client.state === 'live'`)
	n.run(`(said.length = 0, null)`)
	d.exec(`insert into messages (author_id, title, content) select 1, i::text, '' from generate_series(1, 24) i`)
	n.until(`said.length === 24`)
	n.close()
}

// What is subscribed to while the database is away comes when it is back.
func TestJavaScriptOutage(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	d.message("first")
	s := start(t, d.url, options{})
	n := startNode(t)
	n.open(s, "")
	n.run(`(globalThis.before = client.collect('messages'), before.ready)`)
	cluster.Stop()
	eventually(t, "the service is not live", func() bool { return !s.hub.Live() })
	n.run(`(globalThis.during = client.subscribe(['messages', 'comments'], note('during')), globalThis.rows = client.collect('messages:1'), client.subscribe('nothing', note('nothing')), null)`)
	n.until(`[...client.subs].some((s) => s.failures > 1)`) // unavailable
	n.expect(`said`, []string{})
	cluster.Start()
	d.pool.Reset()
	n.run(`rows.ready`)
	n.until(`said.length === 3`)
	n.expect(`said.splice(0).sort()`, []string{"during live comments", "during live messages", "nothing error nothing unknown_channel false"})
	d.exec(`update messages set title = 'changed'`)
	n.until(`[before, rows].every((c) => c.snapshot().map((r) => r.title).join() === 'changed')`)
	n.close()
}

// A collection is told of in batches, is shared, and knows what is no row.
func TestJavaScriptCollection(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table files (path text primary key, size int); select tidings.watch('files', read => 'public'); insert into files values ('a', 1), ('b', 2)`)
	first := d.message("first")
	s := start(t, d.url, options{})
	n := startNode(t)
	n.open(s, "")
	n.expect(`(async () => { const c = client.collect('files'); await c.ready.catch(() => {}); return c.error.code })()`, "no_key")
	n.expect(`(async () => { const c = client.collect('files', { key: 'path' }); await c.ready; const { rows } = c; c.close(); return [...rows.keys()] })()`, []string{"a", "b"})
	n.run(`(globalThis.a = client.collect('messages'), globalThis.b = client.collect('messages'), globalThis.told = 0, globalThis.off = a.subscribe(() => told++), a.ready)`)
	n.expect(`[client.subs.size, a.snapshot() === b.snapshot(), a.rows.get(1).title, a.live, a.error ?? null]`, []any{1, true, "first", true, nil})
	d.exec(`insert into messages (author_id, title, content) select 1, 'many', '' from generate_series(1, 500)`)
	n.until(`a.rows.size === 501`)
	n.expect(`told < 100`, true)
	n.run(`(globalThis.was = a.snapshot(), null)`)
	d.exec(`select tidings.broadcast('messages', 'wave', '{"id": 1}')`)
	d.comment(first, "c")
	n.run(`client.load('messages')`)
	d.exec(`update messages set title = 'changed' where id = 1`)
	n.until(`a.rows.get(1).title === 'changed'`)
	n.expect(`[was === a.snapshot(), was[0].title, a.snapshot()[0].title]`, []any{false, "first", "changed"})

	// A row that is too large to be told of, and another primary key.
	d.exec(`update tidings.settings set max_value_bytes = 10000`)
	d.exec(`select tidings.watch('messages', read => 'public')`)
	d.exec(`update messages set content = (select string_agg(md5(i::text), '') from generate_series(1, 1000) i) where id = 2`)
	n.until(`!a.rows.has(2)`)
	d.exec(`update messages set content = 'short again' where id = 2`)
	n.until(`a.rows.get(2)?.content === 'short again'`)
	d.exec(`update messages set id = 1000 where id = 3`)
	n.until(`a.rows.has(1000) && !a.rows.has(3)`)

	n.run(`(off(), a.close(), a.close(), null)`)
	n.expect(`client.subs.size`, 1)
	n.until(`b.live`) // the rows were loaded anew
	n.run(`b.close()`)
	n.expect(`client.state`, "idle")
	n.expect(`(async () => { const c = client.collect('messages', { key: (row) => row.title + row.id }); await c.ready; const keys = [...c.rows.keys()]; c.close(); return keys[0] })()`, "changed1")
	n.expect(`(async () => { const c = client.collect('nothing'); await c.ready.catch(() => {}); return [c.error.code, c.live] })()`, []any{"unknown_channel", false})
	n.close()
}

// What is kept nowhere is told to who is there.
func TestJavaScriptSignals(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('bob', 'Bob')`)
	d.exec(`update tidings.watches set typing = true`)
	s := start(t, d.url, options{secret: secret})
	n := startNode(t)
	n.open(s, `token: '`+tokenOf(t, "1", time.Hour, nil)+`'`)
	n.run(`(globalThis.ada = client, client.subscribe('comments:1', note('ada')).ready)`)
	n.open(s, `token: '`+tokenOf(t, "2", time.Hour, nil)+`'`)
	n.run(`client.subscribe(['comments:1', 'messages'], note('bob')).ready`)
	n.expectSaid("bob live comments:1", "bob live messages")
	n.run(`(ada.typing('comments:1'), ada.typing('comments:1'), ada.typing('comments:1'), null)`)
	d.exec(`select tidings.broadcast('messages', 'wave', kept => false)`)
	n.until(`said.length === 2`)
	n.expect(`said.sort()`, []string{"bob typing comments:1", "bob wave messages"})
	n.close()
	n.run(`ada.close()`)
}

// Tokens are renewed in place, or by a new connection of which nobody sees anything; one that is not taken is asked about once.
func TestJavaScriptTokens(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) select 'user' || i, 'User' from generate_series(2, 9) i`)
	d.exec(`create table private (id int primary key); select tidings.watch('private')`)
	s := start(t, d.url, options{secret: secret})
	n := startNode(t)
	n.run(javaScriptNotes)
	n.run(`(globalThis.clients = {}, globalThis.token = undefined, null)`)
	valid := func(user string, lasts time.Duration) string { return tokenOf(t, user, lasts, nil) }
	// open connects a client with what it is to answer, in order: a token, null, or an error.
	open := func(name string, tokens ...any) {
		t.Helper()
		list, err := json.Marshal(tokens)
		if err != nil {
			t.Fatal(err)
		}
		n.run(fmt.Sprintf(`(() => {
			const c = clients[%q] = { asked: [], states: [], tokens: %s };
			c.client = connect({ url: 'http://%s', backoff: { min: 10, max: 100 }, token: async (why) => {
				c.asked.push(why);
				const token = c.tokens.shift();
				if (token === 'throw') throw new Error('no network');
				return token;
			} });
			c.client.onState((state, error) => c.states.push(error ? state + ' ' + error.code : state));
			c.subscription = c.client.subscribe('private', note(%[1]q));
		})()`, name, list, s.addr))
	}
	const came = "connecting,catching up,live"
	expect := func(name, asked, states string) {
		t.Helper()
		n.until(fmt.Sprintf(`clients[%q].asked.join() === %q && clients[%[1]q].states.join() === %[3]q`, name, asked, states))
	}
	open("in place", valid("1", 15*time.Second), valid("1", time.Hour))
	open("by a cookie", valid("2", 15*time.Second), nil, valid("2", time.Hour))
	open("too late", valid("3", 15*time.Second), "throw", valid("3", time.Hour))
	open("once", "old", valid("4", time.Hour))
	open("never", "old", "old")
	open("revoked", valid("5", time.Hour))
	open("revoked for good", valid("6", time.Hour), valid("6", time.Hour+time.Minute))
	open("not now", "throw", "throw", valid("7", time.Hour))
	n.run(`clients.static = { asked: [], states: [], client: connect({ url: 'http://` + s.addr + `', token: 'old' }) }, clients.static.client.onState((state, error) => clients.static.states.push(state + (error?.code ?? ''))), clients.static.client.subscribe('private', note('static')), null`)

	expect("never", "connect,rejected", "connecting,closed unauthenticated")
	expect("static", "", "connecting,closedunauthenticated")
	expect("once", "connect,rejected", came)
	expect("not now", "connect,connect,connect", "connecting,offline no_token,"+came[len("connecting,"):])
	expect("in place", "connect,expiring", came)
	expect("by a cookie", "connect,expiring,connect", came)
	expect("too late", "connect,expiring,connect", came)
	n.run(`(clients.revoked.tokens.push(new Promise((resolve) => { globalThis.give = resolve })), null)`)
	d.exec(`select tidings.revoke('5'), tidings.revoke('6')`)
	n.run(`give('` + tokenOf(t, "5", time.Hour, jwt.MapClaims{"iat": time.Now().Add(time.Second).Unix()}) + `')`) // issued later, whenever it is asked for
	expect("revoked", "connect,rejected", came+",catching up,live")
	expect("revoked for good", "connect,rejected", came+",catching up,closed unauthenticated")
	n.expect(`said.filter((s) => s.includes('error')).sort()`, []string{"never error  unauthenticated false", "revoked for good error  unauthenticated false", "static error  unauthenticated false"})

	// All that are there hear of it, once.
	n.until(`['in place', 'by a cookie', 'too late', 'once', 'revoked', 'not now'].every((name) => clients[name].subscription.live)`)
	n.run(`(said.length = 0, null)`)
	d.exec(`insert into private values (1)`)
	n.until(`said.length === 6`)
	n.expect(`said.sort()`, []string{"by a cookie private_added private:1 1", "in place private_added private:1 1", "not now private_added private:1 1",
		"once private_added private:1 1", "revoked private_added private:1 1", "too late private_added private:1 1"})
	n.run(`Object.values(clients).forEach((c) => c.client.close())`)
}
