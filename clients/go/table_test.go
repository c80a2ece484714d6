package tidings_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"

	tidings "tidings/clients/go"
)

func TestTable(t *testing.T) {
	t.Parallel()
	event := func(typ, channel, from, data string) tidings.Message {
		m := tidings.Message{Kind: tidings.Event, Type: typ, Channel: channel, MovedFrom: from}
		if data != "" {
			m.Data = json.RawMessage(data)
		}
		return m
	}
	rows := func(channel string, rows ...string) tidings.Message {
		m := tidings.Message{Kind: tidings.Rows, Channel: channel}
		for _, row := range rows {
			m.Rows = append(m.Rows, json.RawMessage(row))
		}
		return m
	}
	data := func(id, customer int, note string) string {
		return fmt.Sprintf(`{"id":%d,"customer_id":%d,"note":%q}`, id, customer, note)
	}
	all := &tidings.Table[int64, order]{Channel: "orders", Key: func(o order) int64 { return o.ID }}
	one := &tidings.Table[int64, order]{Channel: "orders:1", Key: all.Key}
	for _, step := range []struct {
		m        tidings.Message
		all, one string
	}{
		{event("order_added", "orders:1", "", data(1, 1, "a")), "1a", "1a"},
		{event("order_added", "orders:2", "", data(2, 2, "b")), "1a 2b", "1a"},
		{event("order_added", "comments:1", "", data(9, 1, "x")), "1a 2b", "1a"},
		{event("order_updated", "orders:1", "", data(1, 1, "c")), "1c 2b", "1c"},
		{event("order_updated", "orders:2", "orders:1", data(1, 2, "d")), "1d 2b", ""},
		{event("order_updated", "orders:1", "orders:2", data(2, 1, "e")), "1d 2e", "2e"},
		{event("order_deleted", "orders:2", "", data(1, 2, "d")), "2e", "2e"},
		{event("closing", "orders:1", "", `{}`), "2e", "2e"},
		{rows("orders", data(3, 1, "f"), data(4, 2, "g")), "3f 4g", "2e"},
		{rows("orders:1"), "3f 4g", ""},
		{event("order_added", "orders:1", "", data(5, 1, "h")), "3f 4g 5h", "5h"},
		{event("orders_truncated", "orders", "", ""), "", ""},
	} {
		if err := errors.Join(all.Apply(step.m), one.Apply(step.m)); err != nil {
			t.Fatal(err)
		}
		for table, want := range map[*tidings.Table[int64, order]]string{all: step.all, one: step.one} {
			got := ""
			for id := range int64(10) {
				if o, ok := table.Get(id); ok {
					got += fmt.Sprintf(" %d%s", id, o.Note)
				}
			}
			if got != "" {
				got = got[1:]
			}
			if got != want || table.Len() != len(maps.Collect(table.All())) {
				t.Errorf("after %s of %s, %s has %q, want %q", step.m.Type, step.m.Channel, table.Channel, got, want)
			}
		}
	}
	for _, m := range []tidings.Message{event("order_updated", "orders:1", "", ""), rows("orders", "null")} {
		if err := all.Apply(m); !errors.Is(err, tidings.ErrOmitted) {
			t.Errorf("got %v", err)
		}
	}
	if err := all.Apply(event("order_added", "orders:1", "", `[]`)); err == nil {
		t.Error("an array is taken for a row")
	}
}
