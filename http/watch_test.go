package http_test

import (
	"fmt"
	"slices"
	"testing"
)

// What was watched a moment ago can be subscribed to at once, also by who asked too early.
func TestWatchWhileConnected(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := s.dial("messages")
	for i := range 8 {
		table := fmt.Sprintf("things_%d", i)
		d.exec(fmt.Sprintf(`create table %s (id int primary key, title text)`, table))
		c.subscribe(table, "")
		c.expectError("unknown_channel")
		d.exec(`select tidings.watch($1::text::regclass, read => 'public')`, table)
		c.subscribe(table, "")
		if f := c.next(); f.Type != "subscribed" {
			t.Fatalf("the %dth table: it is watched, and subscribing says %s", i+1, f.text)
		}
		d.exec(fmt.Sprintf(`insert into %s values (1, 'one')`, table))
		if f := c.expectRow(fmt.Sprintf("things_%d_added", i), "one"); f.Channel != table+":1" {
			t.Errorf("got %s", f.text)
		}
	}
}

func TestUnwatchWhileConnected(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table things (id int primary key, title text)`)
	d.exec(`select tidings.watch('things', read => 'public')`)
	s := start(t, d.url, options{})
	for _, step := range []struct{ change, code string }{
		{`select tidings.unwatch('things')`, "unknown_channel"},
		{`select tidings.watch('things', read => 'signed_in')`, "forbidden"},
		{`select tidings.watch('things', read => 'owner:title')`, "forbidden"},
		{`select tidings.watch('things', read => 'public', topic => 'other_things')`, "unknown_channel"},
		{`drop table things`, "unknown_channel"},
	} {
		t.Run(step.change, func(t *testing.T) {
			s := s.in(t)
			// At once: who subscribes in between would be told of its end.
			d.exec(`select tidings.unwatch('things'), tidings.watch('things', read => 'public')`)
			eventually(t, "things can be followed", func() bool { return slices.Contains(s.hub.PublicTopics(), "things") })
			both, key, messages := s.dial("things", "messages"), s.dial("things:1"), s.dial("messages")
			d.exec(`insert into things values (1, 'told')`)
			both.expectRow("thing_added", "told")
			key.expectRow("thing_added", "told")

			d.exec(step.change)
			if step.change == `drop table things` {
				// Nobody tells of that: it is noticed when somebody asks, or something else is watched.
				d.exec(`create table more (id int)`)
				d.exec(`select tidings.watch('more')`)
			}
			if f := both.expectError(step.code); f.Channel != "things" {
				t.Errorf("got %s", f.text)
			}
			if f := key.expectError(step.code); f.Channel != "things:1" {
				t.Errorf("got %s", f.text)
			}
			both.subscribe("things", "")
			both.expectError(step.code)
			if step.change != `drop table things` {
				d.exec(`insert into things values (2, 'not told')`)
				d.exec(`delete from things`)
			}
			d.message("goes on")
			both.expectRow("message_added", "goes on")
			messages.expectRow("message_added", "goes on")

			// The connection whose only channel went is still good for another.
			key.subscribe("comments", "")
			key.expect("subscribed")
		})
	}
}

// A watch that changes while it is followed: the columns that go out, the key, the type.
func TestRewatchWhileConnected(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table people (id int primary key, town text, secret text)`)
	d.exec(`select tidings.watch('people', event => 'people', read => 'public')`)
	s := start(t, d.url, options{})
	c := s.dial("people")
	d.exec(`insert into people values (1, 'here', 'x')`)
	if f := c.expect("people_added"); string(f.Data) != `{"id":1,"town":"here","secret":"x"}` || f.Channel != "people:1" {
		t.Errorf("got %s", f.text)
	}
	d.exec(`select tidings.watch('people', read => 'public', event => 'person', key => 'town', columns => '{id,town}')`)
	town := s.dial("people:here")
	d.exec(`insert into people values (2, 'here', 'y'), (3, 'there', 'z')`)
	for _, want := range []string{`{"id":2,"town":"here"}`, `{"id":3,"town":"there"}`} {
		if f := c.expect("person_added"); string(f.Data) != want {
			t.Errorf("got %s, want the data %s", f.text, want)
		}
	}
	d.exec(`update people set town = 'here' where id = 3`)
	for _, want := range []string{`{"id":2,"town":"here"}`, `{"id":3,"town":"here"}`} {
		if f := town.next(); string(f.Data) != want || f.Channel != "people:here" {
			t.Errorf("got %s, want the data %s", f.text, want)
		}
	}
}
