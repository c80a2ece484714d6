package http_test

import (
	"net"
	"testing"
)

// javaScriptService has clients dial a service whose frames the test says: dials are the WebSockets, in order. What a real one answers
// when is left to chance.
const javaScriptService = `(globalThis.dials = [], globalThis.Scripted = class {
	constructor(url) { this.url = url; this.readyState = 0; this.sent = []; dials.push(this); }
	open() { this.readyState = 1; this.onopen(); return this; }
	send(text) { this.sent.push(JSON.parse(text)); }
	say(...frames) { for (const frame of frames) this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) }); }
	end(code, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
	close() { this.readyState = 3; }
	asked() { return this.sent.splice(0).map(({ type, channel, channels, since, snapshot, token }) => [type, channel ?? channels?.join('+') ?? token, since, snapshot && 'rows'].filter(Boolean).join(' ')); }
}, globalThis.added = (id, channel, more) => ({ type: 'message_added', channel, id: String(id), cursor: 'c' + id, data: { id, title: String(id) }, ...more }),
	globalThis.scripted = (options) => connect({ url: 'http://service', WebSocket: Scripted, backoff: { min: 10, max: 100 }, ...options }),
	globalThis.soon = () => new Promise((resolve) => setTimeout(resolve)), null)`

func startScripted(t *testing.T) *inNode {
	n := startNode(t)
	n.run(javaScriptNotes)
	n.run(javaScriptService)
	return n
}

// What still comes of a channel that was left is not the past of who begins there again with a cursor.
func TestJavaScriptAgainBehindACursor(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	n.run(`(globalThis.client = scripted(), globalThis.other = client.subscribe('noise', note('other')), globalThis.a = client.subscribe('messages', note('a')), soon())`)
	n.run(`(dials[0].open().say({ type: 'subscribed', channel: 'noise', cursor: 'c1' }, { type: 'subscribed', channel: 'messages', cursor: 'c1' }), dials[0].asked(), said.splice(0), soon())`)
	n.run(`(a.close(), globalThis.b = client.subscribe('messages', note('b'), { since: 'c1' }), soon())`)
	n.expect(`dials[0].asked()`, []string{"unsubscribe messages"})
	n.run(`(dials[0].say(added(9, 'messages:9'), { type: 'unsubscribed', channel: 'messages' }), null)`)
	n.expect(`[said.splice(0), b.cursor]`, []any{[]string{}, "c1"})
	n.run(`(dials[1].open(), soon())`)
	n.expect(`dials[1].asked()`, []string{"subscribe messages c1"})
	n.run(`(dials[1].say(added(8, 'messages:8'), added(9, 'messages:9'), { type: 'subscribed', channel: 'messages', cursor: 'c9' }), null)`)
	n.expect(`said.splice(0)`, []string{"b message_added messages:8 8", "b message_added messages:9 9", "b live messages"})
	n.run(`client.close()`)
}

// A service that ends each connection as soon as it is there is not come back to at once, whatever it says.
func TestJavaScriptStorm(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	for _, goodbye := range []string{`1001, 'shutdown'`, `4003, 'token_expired'`, `1006`} {
		n.run(`(dials.length = 0, globalThis.client = scripted({ backoff: { min: 1000, max: 64_000 } }), client.subscribe('messages', {}), soon())`)
		// What is waited for is brought about: the pauses are noted, and nobody waits for them.
		n.run(`(() => {
			globalThis.pauses = [];
			const { again } = [...client.links][0];
			[...client.links][0].again = function (pause, error) { pauses.push(pause); again.call(this, pause, error); clearTimeout(this.timer); this.dial(); };
		})()`)
		n.run(`(async () => {
			for (let i = 0; i < 6; i++) {
				dials.at(-1).open().say({ type: 'subscribed', channel: 'messages', cursor: 'c1' });
				dials.at(-1).end(` + goodbye + `);
				await soon();
			}
		})()`)
		n.expect(`[dials.length, pauses.map((pause, i) => pause >= 500 * 2 ** i && pause <= 1000 * 2 ** i)]`, []any{7, []bool{true, true, true, true, true, true}})
		n.run(`client.close()`)
	}
	// Of one that has held, all that is known is that it ended.
	n.run(`(dials.length = 0, globalThis.client = scripted({ backoff: { min: 10, max: 64_000 } }), client.subscribe('messages', {}), soon())`)
	n.run(`(async () => {
		[...client.links][0].failures = 12;
		dials[0].open().say({ type: 'subscribed', channel: 'messages', cursor: 'c1' });
		await new Promise((resolve) => setTimeout(resolve, 30));
		dials[0].end(1006);
	})()`)
	n.until(`dials.length === 2`)
	n.run(`client.close()`)
}

// A service that stops is left for another one within a moment, and nobody is told that anything was lost.
func TestJavaScriptMoving(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	n.run(`(globalThis.states = [], globalThis.client = scripted({ backoff: { min: 20, max: 64_000 } }), client.onState((state) => states.push(state)),
		client.subscribe('messages', {}), soon())`)
	n.run(`(async () => {
		const [link] = client.links;
		link.failures = 12; // which was before
		for (let i = 0; i < 3; i++) {
			dials[i].open().say({ type: 'subscribed', channel: 'messages', cursor: 'c' + i });
			await new Promise((resolve) => setTimeout(resolve, 50));
			dials[i].end(1001, 'shutdown: the server is stopping');
			while (dials.length === i + 1) await soon();
		}
	})()`)
	n.expect(`[dials[3].open().asked(), [...client.links][0].failures, states]`, []any{[]string{"subscribe messages c2"}, 0, []string{"connecting", "catching up", "live"}})
	n.run(`client.close()`)
}

// Tokens that do not come, or are none, or are asked for by several at once.
func TestJavaScriptTokensGoAstray(t *testing.T) {
	t.Parallel()
	n := startScripted(t)

	// One that never comes: whoever looks at the state knows.
	n.run(`(globalThis.states = [], globalThis.client = scripted({ token: () => new Promise(() => {}), heartbeat: { timeout: 20 } }),
		client.onState((state, error) => states.push(state + (error ? ' ' + error.code : ''))), client.subscribe('messages', {}), null)`)
	n.until(`client.state === 'offline'`)
	n.expect(`[states, dials.length]`, []any{[]string{"connecting", "offline no_token"}, 0})
	n.run(`client.close()`)

	// It fails while rows are loaded page by page: that is tried again.
	n.run(`(globalThis.tokens = ['one', null, 'throw', 'two'], globalThis.client = scripted({
		token: () => { const token = tokens.shift(); if (token === 'throw') throw new Error('no network'); return token; },
		fetch: async (url, { headers }) => headers.Authorization === 'Bearer two' ? Response.json({ rows: [{ id: 1 }], cursor: 'c1', next: null })
			: Response.json({ error: { code: 'unauthenticated', message: '' } }, { status: 401 }) }),
		globalThis.rows = client.subscribe('messages', note('rows'), { rows: true }), soon())`)
	n.run(`(dials[0].open().say({ type: 'authenticated' }), soon())`)
	n.run(`(dials[0].say({ type: 'error', code: 'unauthenticated', message: '' }, { type: 'error', code: 'snapshot_too_large', channel: 'messages', message: '' }), null)`)
	n.until(`said.length && dials.length === 2`)
	n.expect(`said.splice(0)`, []string{"rows rows messages 1"})
	n.run(`client.close()`)

	// A cookie that is not renewed does not have the client connect again and again.
	n.run(`(dials.length = 0, globalThis.asked = [], globalThis.client = scripted({ token: (why) => { asked.push(why); } }), client.subscribe('messages', {}), soon())`)
	n.run(`(async () => {
		for (let i = 0; i < 5; i++) {
			const dial = dials.at(-1);
			if (!dial.readyState) dial.open();
			dial.say({ type: 'subscribed', channel: 'messages', cursor: 'c1' }, { type: 'token_expiring' });
			await soon();
		}
	})()`)
	n.expect(`[dials.length, asked]`, []any{2, []string{"connect", "expiring", "connect", "expiring", "expiring", "expiring", "expiring"}})
	n.run(`client.close()`)

	// Who needs another one is not given the one that somebody else is being given again.
	n.run(`(dials.length = 0, globalThis.late = [], globalThis.client = scripted({ token: (why) => why === 'rejected' ? 'new' : late.length < 1 ? (late.push(0), 'old') : new Promise((resolve) => late.push(() => resolve('old'))) }),
		client.subscribe('messages', {}), soon())`)
	n.run(`(dials[0].open(), client.subscribe('messages:1', {}, { since: 'c1' }), soon())`)
	n.expect(`[late.length, dials.length]`, []any{2, 1})
	n.run(`(dials[0].end(4006, 'unauthenticated'), soon())`)
	n.run(`(late[1](), soon())`)
	n.expect(`[client.state, dials.length, dials.slice(1).map((dial) => dial.open().asked().join()).sort()]`, []any{"connecting", 3, []string{"authenticate new", "authenticate old"}})
	n.run(`client.close()`)
}

// The clock is set back, by hours.
func TestJavaScriptClock(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	n.run(`(globalThis.real = Date.now, globalThis.client = scripted({ heartbeat: { after: 20, timeout: 20 } }), client.subscribe('messages', {}), soon())`)
	n.run(`(dials[0].open().say({ type: 'subscribed', channel: 'messages', cursor: 'c1' }), client.typing('messages'), Date.now = () => real() - 7_200_000, client.typing('messages'), null)`)
	n.until(`dials.length >= 2`) // it is noticed that nothing is said
	n.expect(`dials[0].asked().filter((command) => command !== 'ping')`, []string{"subscribe messages", "typing messages", "typing messages"})
	n.run(`(Date.now = real, client.close())`)
}

// Who iterates can leave while he waits, and what is no frame does no harm.
func TestJavaScriptLeavesWhileWaiting(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	n.run(`(globalThis.client = scripted(), globalThis.iterator = client.subscribe('messages')[Symbol.asyncIterator](), globalThis.next = iterator.next(), soon())`)
	n.expect(`iterator.return('left')`, map[string]any{"done": true, "value": "left"})
	n.expect(`Promise.all([next, iterator.next()])`, []any{map[string]any{"done": true}, map[string]any{"done": true}})
	n.until(`client.state === 'idle'`)
	n.run(`(globalThis.states = [], client.onState((state, error) => states.push(state + ' ' + error?.code)), client.subscribe('messages', {}), soon())`)
	n.run(`(dials.at(-1).open().say('<html>'), null)`)
	n.expect(`states.at(-1)`, "offline not_tidings")
	n.run(`client.close()`)
}

// A process ends that closes the client while it connects to what does not answer.
func TestJavaScriptClosesWhileConnecting(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	n := startNode(t)
	n.run(`(globalThis.client = connect({ url: 'http://` + silent.Addr().String() + `' }), client.subscribe('messages', {}), null)`)
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.run(`client.close()`)
	n.end()
}

// Rows that were read later than what follows begins: what became of a row in between is told, though they contain it.
func TestJavaScriptCollectsWhatRowsContain(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	n.run(`(globalThis.client = scripted(), globalThis.one = client.collect('comments:1'), globalThis.two = client.collect('comments:2'), soon())`)
	n.run(`(globalThis.titles = (c) => c.snapshot().map((row) => row.title).sort().join(),
		globalThis.changed = (what, id, channel, title, from) => ({ type: 'comment_' + what, channel, id: title, cursor: 'c' + title, data: { id, title }, moved_from: from }),
		dials[0].open(), soon())`)
	n.expect(`dials[0].asked()`, []string{"subscribe comments:1+comments:2 rows"})
	n.run(`(dials[0].say({ type: 'row', channel: 'comments:1', data: { id: 1, title: 'a1' } }, { type: 'loaded', channel: 'comments:1', cursor: 'c1' },
		{ type: 'row', channel: 'comments:2', data: { id: 2, title: 'b9' } }, { type: 'loaded', channel: 'comments:2', cursor: 'c9' },
		changed('deleted', 3, 'comments:2', 'c2'), // which is gone
		changed('updated', 1, 'comments:2', 'a3', 'comments:1'), changed('updated', 1, 'comments:2', 'a4'), changed('deleted', 1, 'comments:2', 'a4'),
		changed('updated', 4, 'comments:2', 'd5'), changed('updated', 4, 'comments:1', 'd6', 'comments:2'),
		changed('updated', 2, 'comments:2', 'b9')), null)`)
	n.expect(`[titles(one), titles(two)]`, []string{"d6", "b9"})
	n.run(`(dials[0].say({ type: 'subscribed', channel: 'comments:1', cursor: 'c9' }, { type: 'subscribed', channel: 'comments:2', cursor: 'c9' }), soon())`)
	n.expect(`[dials.length, dials[0].asked(), one.live, two.live]`, []any{1, []string{}, true, true})

	// A row under another primary key is not known by what is told of it: the rows come again.
	n.run(`(dials[0].say(changed('updated', 5, 'comments:2', 'b10')), soon())`)
	n.expect(`dials[0].asked()`, []string{"unsubscribe comments:2", "subscribe comments:2 rows"})
	n.run(`(dials[0].say({ type: 'unsubscribed', channel: 'comments:2' }, { type: 'row', channel: 'comments:2', data: { id: 5, title: 'b10' } }, { type: 'loaded', channel: 'comments:2', cursor: 'c10' },
		changed('updated', 6, 'comments:2', 'b11')), soon())`)
	n.expect(`[titles(two), dials[0].asked()]`, []any{"b10,b11", []string{}})
	n.run(`(dials[0].say({ type: 'subscribed', channel: 'comments:2', cursor: 'c11' }), soon())`)
	n.expect(`[two.live, dials[0].asked()]`, []any{false, []string{"unsubscribe comments:2", "subscribe comments:2 rows"}})
	n.run(`client.close()`)
}

// Rows that one user may read are not kept for another one, whether he comes on the same connection or on the next.
func TestJavaScriptAnotherUser(t *testing.T) {
	t.Parallel()
	n := startScripted(t)
	n.run(`(globalThis.tokens = ['a', 'b', 'c', 'c2', null], globalThis.client = scripted({ token: () => tokens.shift() }), globalThis.rows = client.collect('notes'),
		client.subscribe('noise', {}), globalThis.titles = () => [...rows.rows.keys()].join(), soon())`)
	n.run(`(dials[0].open().say({ type: 'authenticated', user: 'a' }), soon())`)
	n.expect(`dials[0].asked()`, []string{"authenticate a", "subscribe notes rows", "subscribe noise"})
	n.run(`(globalThis.came = (dial, user, ...said) => (dial.say(...said, { type: 'row', channel: 'notes', data: { id: user } }, { type: 'loaded', channel: 'notes', cursor: 'c1' },
		{ type: 'subscribed', channel: 'notes', cursor: 'c1' }), null), dials[0].say({ type: 'subscribed', channel: 'noise', cursor: 'c1' }), came(dials[0], 'a'))`)
	n.run(`(dials[0].say({ type: 'token_expiring' }), soon())`)
	n.run(`(dials[0].say({ type: 'authenticated', user: 'b' }), soon())`)
	n.expect(`dials[0].asked()`, []string{"authenticate b", "unsubscribe notes", "subscribe notes rows"})
	n.run(`came(dials[0], 'b', { type: 'unsubscribed', channel: 'notes' })`)
	n.expect(`titles()`, "b")
	n.run(`(dials[0].end(1006), null)`)
	n.until(`dials.length === 2`)
	n.run(`(dials[1].open().say({ type: 'authenticated', user: 'c' }), soon())`)
	n.expect(`dials[1].asked()`, []string{"authenticate c", "subscribe noise c1", "subscribe notes rows"})
	n.run(`(dials[1].say({ type: 'subscribed', channel: 'noise', cursor: 'c1' }), came(dials[1], 'c'))`)
	n.run(`(dials[1].end(1006), null)`)
	n.until(`dials.length === 3`)
	n.run(`(dials[2].open().say({ type: 'authenticated', user: 'c' }), soon())`)
	n.expect(`[titles(), dials[2].asked()]`, []any{"c", []string{"authenticate c2", "subscribe noise+notes c1 rows"}})
	n.run(`(dials[2].end(1006), null)`)
	n.until(`dials.length === 4`)
	n.run(`(dials[3].open(), soon())`)
	n.expect(`dials[3].asked()`, []string{"subscribe noise c1", "subscribe notes rows"})
	n.run(`client.close()`)
}
