package http_test

import "testing"

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
