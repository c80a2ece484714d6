package http_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"tidings/realtime"
)

// Rows go to and fro between channels that are read at different moments, because they are too many to be read at once: what is collected
// is what there is.
func TestJavaScriptMoves(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(things)
	d.exec(`insert into things (id, k) select i, i % 2 from generate_series(1, 40) i`)
	s := start(t, d.url, options{hub: realtime.Options{QueueBytes: 9_000}}) // less than thirty rows
	n := startNode(t)
	n.open(s, "")
	// Those of the first are given to who comes within a second, so that they are older than those of the other one.
	n.run(`(globalThis.zero = client.collect('things:0'), zero.ready)`)
	n.run(`zero.close()`)
	d.exec(`update things set k = 1 where id = 2`)
	d.exec(`update things set n = nextval('versions') where id = 2`)
	d.exec(`update things set k = 1 where id = 4`)
	d.exec(`delete from things where id = 4`)
	d.exec(`update things set k = 0 where id = 1`)
	d.exec(`update things set k = 1, n = nextval('versions') where id = 1`)
	d.exec(`delete from things where id = 3`)
	d.exec(`update things set id = 50 where id = 5`)
	n.run(`(globalThis.zero = client.collect('things:0'), globalThis.one = client.collect('things:1'), Promise.all([zero.ready, one.ready]))`)
	var want any
	if err := json.Unmarshal([]byte(query[string](d, `select jsonb_object_agg(id, jsonb_build_array(k, n))::text from things`)), &want); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was collected is what there is", func() bool {
		var got any
		text := n.run(`zero.live && one.live && Object.fromEntries([zero, one].flatMap((c, k) => c.snapshot().map((row) => [row.k === k ? row.id : 'wrong ' + row.id, [row.k, row.n]])))`)
		return json.Unmarshal(text, &got) == nil && reflect.DeepEqual(got, want)
	})
	n.expect(`client.links.size`, 1)
	n.close()
}
