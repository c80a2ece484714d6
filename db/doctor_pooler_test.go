package db_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// A pooler in the way is found, of whatever kind, and that there is a way past it.
func TestDoctorOfPoolers(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	install(t, address)
	expect := func(d *db.Doctor, want map[string]string) {
		t.Helper()
		findings := (&patient{t: t, doctor: d}).examine()
		for check, said := range want {
			f := only(findings, check)
			if len(f) != 1 || !strings.Contains(string(f[0].Level)+": "+f[0].Found, said) {
				t.Errorf("got %+v, want %q", f, said)
			}
		}
	}
	open := func(address string) *db.DB {
		d, err := db.Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	}
	through := dbtest.StartPooler(t, address, nil).URL()
	d := newDoctor(t, open(through))
	expect(d, map[string]string{"pooler": "warning: A pooler of transactions", "notifications": "problem: Notifications are not heard"})
	expect(d, map[string]string{"prepared-statements": "ok: Prepared statements are not used: a pooler"})
	polling := newDoctor(t, open(through))
	polling.NoListen = true
	expect(polling, map[string]string{"pooler": "ok: A pooler of transactions", "notifications": "ok: Services poll", "prepared-statements": "ok: Prepared statements are not used: a pooler"})
	// From 1.21 on it can keep them.
	if out, err := exec.Command("pgbouncer", "--version").Output(); err == nil && strings.HasPrefix(string(out), "PgBouncer 1.1") {
		pinned := newDoctor(t, open(through+"&default_query_exec_mode=cache_statement"))
		expect(pinned, map[string]string{"prepared-statements": "problem: A prepared statement was not there"})
	}
	d.Listen = open(address)
	expect(d, map[string]string{"pooler": "ok: A pooler of transactions", "notifications": "ok: A notification was heard"})
	d.Listen = open(dbtest.Database(t))
	d.Patience = time.Millisecond
	expect(d, map[string]string{"notifications": "problem: What is notified by the one URL is not heard by the other"})
	expect(newDoctor(t, open(through+"&default_query_exec_mode=exec")), map[string]string{"prepared-statements": "ok: Prepared statements are not used"})
	expect(newDoctor(t, open(dbtest.StartPooler(t, address, map[string]string{"pool_mode": "session"}).URL())), map[string]string{"pooler": "note: A pooler of sessions", "notifications": "ok: A notification was heard"})
}

// Where a pooler has a session or two, the doctor waits for none that it has itself.
func TestDoctorOfASmallPool(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	install(t, address)
	for _, size := range []string{"1", "2"} {
		d, err := db.Open(t.Context(), dbtest.StartPooler(t, address, map[string]string{"default_pool_size": size}).URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		doctor := newDoctor(t, d)
		doctor.Patience = 100 * time.Millisecond
		f := only((&patient{t: t, doctor: doctor}).examine(), "pooler")
		if len(f) != 1 || f[0].Level != db.SeverityWarning {
			t.Errorf("of a pool of %s: got %+v", size, f)
		}
	}
}
