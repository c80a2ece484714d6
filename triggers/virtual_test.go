package triggers_test

import "testing"

// From PostgreSQL 18 on a column may be computed when it is read. A transition table does not do that.
func TestVirtualColumns(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	if get[int](t, s, `select current_setting('server_version_num')::int`) < 180000 {
		return
	}
	run(t, s, `create table odd (id int primary key, v text, w text generated always as (upper(v) || id * 2) virtual, x int generated always as (id * 2) stored, y int)`)
	run(t, s, `create policy own on odd using (w = tidings.user_id())`)
	for _, as := range []string{`select tidings.watch('odd')`, `select tidings.watch('odd', read => 'owner:w')`, `alter table odd enable row level security; select tidings.watch('odd')`} {
		run(t, s, as)
		since := cursor(t, s)
		run(t, s, `insert into odd values (1, 'a'); update odd set v = 'b';
			merge into odd using (values (1, 'm'), (2, 'n')) as n(id, v) on odd.id = n.id
				when matched then update set v = n.v when not matched then insert (id, v) values (n.id, n.v);
			delete from odd where id = 1`)
		expect(t, s, since, `
			odd_added 1 {"id":1,"v":"a","w":"A2","x":2,"y":null}
			odd_updated 1 {"id":1,"v":"b","w":"B2","x":2,"y":null}
			odd_updated 1 {"id":1,"v":"m","w":"M2","x":2,"y":null}
			odd_added 2 {"id":2,"v":"n","w":"N4","x":4,"y":null}
			odd_deleted 1 {"id":1,"v":"m","w":"M2","x":2,"y":null}`)
		if rows := loadAll(t, s, "odd", nil); len(rows) != 1 {
			t.Errorf("the rows are %q", rows)
		}
		run(t, s, `truncate odd`)
	}
	if !get[bool](t, s, `select (tidings.judge('odd', '{}', 'N4', array['{"id":2,"v":"n","w":"N4","x":4,"y":null}'])).allowed[1]`) {
		t.Error("a policy does not see the column")
	}
	// Nothing fails before it is noticed that a column has gone.
	run(t, s, `drop event trigger tidings_partitions; alter table odd drop y; insert into odd values (3, 'c'); update odd set v = 'd'; delete from odd`)
}
