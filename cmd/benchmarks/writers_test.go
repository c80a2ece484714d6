package main

import "testing"

func TestParsePgbench(t *testing.T) {
	const output = "number of transactions actually processed: 24781\nnumber of failed transactions: 0 (0.000%)\n" +
		"latency average = 0.5 ms\ntps = 8123.4567 (without initial connection time)\n"
	if got, err := parsePgbench(output); err != nil || got.perSecond != 8123.4567 || got.rows != 24781 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, output := range []string{"nothing", "tps = 1 (without)", "tps = some\n", "number of transactions actually processed: 5\n"} {
		if got, err := parsePgbench(output); err == nil {
			t.Errorf("got %+v from %q, want an error", got, output)
		}
	}
}

func TestJobAsScript(t *testing.T) {
	if got, want := bare.insertOne().pgbench(), bare.insertOne().sql+";\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got := bare.updateOne(50).pgbench()
	want := "\\set id random(1, 50)\nupdate public.bench_bare set updated_at = now() where id = :id;\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
