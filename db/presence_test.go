package db_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// presenceEvent is an event of presence, as tidings.since tells it.
type presenceEvent struct {
	Type     string     `json:"-"`
	User     string     `json:"user"`
	Online   bool       `json:"online"`
	Since    *time.Time `json:"since"`
	LastSeen *time.Time `json:"last_seen"`
}

// people is a database in which instances tell who is connected to them.
type people struct {
	t     *testing.T
	url   string
	db    *db.DB
	since string // the cursor from which on events are looked at
}

func newPeople(t *testing.T, url string) *people {
	t.Helper()
	p := &people{t: t, url: url, db: install(t, url)}
	p.since = p.texts(`select tidings.cursor()`)[0]
	return p
}

func (p *people) texts(sql string, args ...any) []string {
	p.t.Helper()
	return ask[string](p.t, &db.Channel{DB: p.db}, sql, args...)
}

func (p *people) exec(sql string, args ...any) {
	p.t.Helper()
	if _, err := p.db.Pool.Exec(p.t.Context(), sql, args...); err != nil {
		p.t.Fatal(err)
	}
}

// instance is a server of which only the presence is there.
type instance struct {
	*db.Presence
	own  *db.DB
	stop func()
}

// start runs an instance that is quick, unless told otherwise, until the test ends, or it is stopped or killed.
func (p *people) start(presence *db.Presence) *instance {
	p.t.Helper()
	own, err := db.Open(context.Background(), p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	presence.DB, presence.Logger = own, slog.New(slog.NewTextHandler(testLog{p.t}, nil))
	for _, d := range []struct {
		value *time.Duration
		quick time.Duration
	}{
		{&presence.Interval, 20 * time.Millisecond}, {&presence.Heartbeat, 200 * time.Millisecond}, {&presence.DeadAfter, 5 * time.Second},
		{&presence.Grace, time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.quick
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- presence.Run(ctx) }()
	i := &instance{Presence: presence, own: own}
	i.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
		own.Close()
	})
	p.t.Cleanup(i.stop)
	return i
}

// kill ends an instance that has no chance to say goodbye.
func (i *instance) kill() {
	i.own.Close() // the goodbye takes a connection of the pool
	i.stop()
}

func (p *people) told(instances ...*instance) {
	p.t.Helper()
	await(p.t, "all to be told", func() bool {
		return !slices.ContainsFunc(instances, func(i *instance) bool { return !i.Status().Live })
	})
}

// events are those of presence since the beginning. Each must be a change.
func (p *people) events() []presenceEvent {
	p.t.Helper()
	rows, err := p.db.Pool.Query(p.t.Context(), `select type, key, data from tidings.since($1) where topic = 'presence'`, p.since)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	var events []presenceEvent
	online := make(map[string]bool)
	for rows.Next() {
		var e presenceEvent
		var key string
		var data []byte
		if err := rows.Scan(&e.Type, &key, &data); err != nil {
			p.t.Fatal(err)
		}
		if err := json.Unmarshal(data, &e); err != nil {
			p.t.Fatal(err)
		}
		if e.User != key || e.Online != (e.Type == "user_online") || e.Online != (e.Since != nil) || e.Online == (e.LastSeen != nil) {
			p.t.Fatalf("%s of %s: %s", e.Type, key, data)
		}
		if online[key] == e.Online {
			p.t.Fatalf("%s of %s changes nothing", e.Type, key)
		}
		online[key] = e.Online
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	return events
}

// expect waits for the events, which must be these and no others, in any order of users: "+ada" comes, "-ada" goes.
func (p *people) expect(want ...string) {
	p.t.Helper()
	var got []string
	defer func() {
		if p.t.Failed() {
			p.t.Logf("got %q, want %q", got, want)
		}
	}()
	await(p.t, fmt.Sprintf("%d events", len(want)), func() bool {
		got = nil
		for _, e := range p.events() {
			got = append(got, map[bool]string{true: "+", false: "-"}[e.Online]+e.User)
		}
		return len(got) >= len(want)
	})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Fatalf("got %q, want %q", got, want)
	}
}

// expire ends the grace of whoever has left.
func (p *people) expire(user string) {
	p.t.Helper()
	p.exec(`update tidings.presence set leaves_at = clock_timestamp() where "user" = $1 and leaves_at is not null`, user)
}

func (p *people) leaving(user string, is bool) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%s to be leaving: %v", user, is), func() bool {
		return p.texts(`select (leaves_at is not null)::text from tidings.presence where "user" = $1`, user)[0] == strconv.FormatBool(is)
	})
}

func TestPresenceGrace(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a := p.start(&db.Presence{})
	a.Arrive("ada")
	p.expect("+ada")
	a.Leave("ada")
	p.leaving("ada", true)
	if got := p.texts(`select "user" || ' ' || connections || ' ' || instances from tidings.online`); !slices.Equal(got, []string{"ada 0 0"}) {
		t.Errorf("online in her grace: %q", got)
	}
	a.Arrive("ada") // the page was loaded anew
	p.leaving("ada", false)
	a.Arrive("ada")
	a.Leave("ada")
	a.Leave("ada")
	p.leaving("ada", true)
	left := p.texts(`select last_seen::text from tidings.presence where leaves_at - last_seen = '1 hour'`)
	p.expire("ada")
	p.expect("+ada", "-ada")
	if got := p.texts(`select last_seen::text from tidings.last_seen where "user" = 'ada'`); !slices.Equal(got, left) || len(got) != 1 {
		t.Errorf("last seen: got %q, want %q", got, left)
	}
	a.Arrive("ada")
	p.expect("+ada", "-ada", "+ada")
}

func TestPresenceWithoutGrace(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a := p.start(&db.Presence{Grace: -1})
	for _, nobody := range []string{"", "a\x00b", "a\xffb", string(make([]byte, 600))} {
		a.Arrive(nobody)
		defer a.Leave(nobody)
	}
	a.Leave("nobody has arrived")
	a.Arrive("ада")
	p.expect("+ада")
	a.Leave("ада")
	p.expect("+ада", "-ада")
}

// A user is online while any instance has a connection of hers; one that is stopped lets its users go at once.
func TestPresenceOfTwoInstances(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a, b := p.start(&db.Presence{}), p.start(&db.Presence{})
	a.Arrive("ada")
	a.Arrive("ada")
	b.Arrive("ada")
	b.Arrive("bob")
	p.told(a, b)
	p.expect("+ada", "+bob")
	if got := p.texts(`select "user" || ' ' || connections || ' ' || instances from tidings.online order by 1`); !slices.Equal(got, []string{"ada 3 2", "bob 1 1"}) {
		t.Errorf("online: %q", got)
	}
	b.stop()
	p.leaving("bob", true)
	p.leaving("ada", false)
	p.expire("bob")
	p.expect("+ada", "+bob", "-bob")
	a.Leave("ada")
	p.told(a)
	p.leaving("ada", false)
	a.Leave("ada")
	p.leaving("ada", true)
	p.expire("ada")
	p.expect("+ada", "+bob", "-bob", "-ada")
}

// The users of an instance that was killed go offline within seconds, unless they are connected to another one by then.
func TestPresenceOfADeadInstance(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a, b, c := p.start(&db.Presence{Grace: -1}), p.start(&db.Presence{Grace: -1}), p.start(&db.Presence{Grace: -1})
	var want []string
	for n := range 60 {
		user := strconv.Itoa(n)
		if n < 40 {
			a.Arrive(user)
		}
		if n >= 20 {
			b.Arrive(user)
		}
		want = append(want, "+"+user)
	}
	p.told(a, b, c)
	p.expect(want...)
	a.kill()
	killed := time.Now()
	for n := range 10 {
		c.Arrive(strconv.Itoa(n)) // they have come back elsewhere
	}
	for n := 10; n < 20; n++ {
		want = append(want, "-"+strconv.Itoa(n))
	}
	p.expect(want...)
	t.Logf("noticed after %s", time.Since(killed).Round(10*time.Millisecond))
	if got := p.texts(`select count(*)::text from tidings.presence_instances`); got[0] != "2" {
		t.Errorf("there are %s instances, want 2", got[0])
	}
	if got := p.texts(`select count(*)::text from tidings.presence_connections`); got[0] != "50" {
		t.Errorf("there are %s connections, want 50", got[0])
	}
}

// sweptSince waits until somebody who may set others offline has done so, and all others could have been.
func (p *people) sweptSince(i *instance, user string, want ...string) {
	p.t.Helper()
	i.Arrive(user)
	p.told(i)
	i.Leave(user)
	p.leaving(user, true)
	p.expire(user)
	p.expect(append(want, "+"+user, "-"+user)...)
}

// While PostgreSQL is away, nobody who stays connected goes offline, and what happens meanwhile is told afterwards.
func TestPresenceThroughRestarts(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, map[string]string{"fsync": "on"})
	p := newPeople(t, cluster.URL())
	a, b := p.start(&db.Presence{}), p.start(&db.Presence{})
	var want []string
	for n := range 20 {
		a.Arrive(strconv.Itoa(n))
		b.Arrive(strconv.Itoa(n + 10))
	}
	for n := range 30 {
		want = append(want, "+"+strconv.Itoa(n))
	}
	p.expect(want...)
	for _, kill := range []bool{true, false} {
		user := fmt.Sprintf("killed %v", kill)
		if kill {
			cluster.Kill()
		} else {
			cluster.Stop()
		}
		await(t, "both to notice", func() bool { return !a.Status().Live && !b.Status().Live })
		b.Arrive(user)
		a.Leave("0")
		a.Arrive("0")
		cluster.Start()
		p.db.Pool.Reset()
		p.told(a, b)
		want = append(want, "+"+user)
		p.sweptSince(a, user+" marker", want...)
		want = append(want, "+"+user+" marker", "-"+user+" marker")
	}
}

// The database's clock is set, an hour forward or back: for everybody at once, which is no reason to go.
func TestPresenceWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"-1 hour", "1 hour"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			p := newPeople(t, dbtest.Database(t))
			a, b := p.start(&db.Presence{Grace: -1}), p.start(&db.Presence{Grace: -1})
			a.Arrive("ada")
			b.Arrive("bob")
			p.expect("+ada", "+bob")
			b.Arrive("eve")
			p.expect("+ada", "+bob", "+eve")
			b.Leave("eve")
			p.expect("+ada", "+bob", "+eve", "-eve") // so there is somebody who may set others offline
			p.exec(`update tidings.presence_instances set seen_at = seen_at + $1::text::interval, steady_since = steady_since + $1::text::interval`, by)
			a.Arrive("mal")
			p.told(a)
			a.Leave("mal")
			p.expect("+ada", "+bob", "+eve", "-eve", "+mal", "-mal")
		})
	}
}

// An instance that was taken for dead, or of which somebody has deleted the rows, says everything anew.
func TestPresenceTakenForDead(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a, b := p.start(&db.Presence{}), p.start(&db.Presence{})
	a.Arrive("ada")
	b.Arrive("bob")
	p.expect("+ada", "+bob")
	p.exec(`delete from tidings.presence_instances; delete from tidings.presence_connections`)
	await(t, "all to be there again", func() bool {
		return p.texts(`select count(*)::text from tidings.presence_connections`)[0] == "2"
	})
	p.sweptSince(a, "eve", "+ada", "+bob")
}

// Whatever somebody does to the tables, it comes right.
func TestPresenceChecksItself(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a := p.start(&db.Presence{CheckInterval: 100 * time.Millisecond})
	for _, user := range []string{"ada", "bob", "eve"} {
		a.Arrive(user)
	}
	p.expect("+ada", "+bob", "+eve")
	p.exec(`update tidings.presence_connections set connections = 7 where "user" = 'ada'; delete from tidings.presence_connections where "user" = 'bob';
		insert into tidings.presence_connections values ('nobody', 'another', 1), ('ada', 'another', 1);
		insert into tidings.presence_connections select 'mal', name, 1 from tidings.presence_instances;
		update tidings.presence set leaves_at = 'infinity', last_seen = now() where "user" = 'eve'`)
	await(t, "it to have come right", func() bool {
		return slices.Equal(p.texts(`select "user" || ' ' || connections || ' ' || instances from tidings.online order by 1`), []string{"ada 1 1", "bob 1 1", "eve 1 1"}) &&
			slices.Equal(p.texts(`select "user" from tidings.presence_connections order by 1`), []string{"ada", "bob", "eve"}) &&
			slices.Equal(p.texts(`select "user" from tidings.presence where leaves_at is not null`), []string{})
	})
	p.expect("+ada", "+bob", "+eve")
}

// Many who come and go at once are a few statements.
func TestPresenceOfManyAtOnce(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	instances := []*instance{p.start(&db.Presence{Interval: 200 * time.Millisecond, Heartbeat: 2 * time.Second, DeadAfter: 6 * time.Second, Grace: -1})}
	instances = append(instances, p.start(&db.Presence{Interval: 200 * time.Millisecond, Heartbeat: 2 * time.Second, DeadAfter: 6 * time.Second, Grace: -1}))
	p.told(instances...)
	sent := func() (n uint64) {
		for _, i := range instances {
			n += i.Status().Statements
		}
		return n
	}
	const users = 5000
	for round, count := range []func(*db.Presence, string){(*db.Presence).Arrive, (*db.Presence).Leave} {
		before, begun := sent(), time.Now()
		var group sync.WaitGroup
		for n := range users {
			group.Go(func() { count(instances[n%2].Presence, strconv.Itoa(n)) })
		}
		group.Wait()
		var events []presenceEvent
		await(t, "all to be told", func() bool {
			events = p.events()
			return len(events) >= (round+1)*users
		})
		took, statements := time.Since(begun), sent()-before
		t.Logf("%d events after %s, by %d statements", users, took.Round(time.Millisecond), statements)
		if len(events) != (round+1)*users {
			t.Errorf("got %d events, want %d", len(events), (round+1)*users)
		}
		if most := 2 * (3 + uint64(took/(200*time.Millisecond))); statements > most {
			t.Errorf("there were %d statements, want at most %d", statements, most)
		}
	}
}

// Connections come and go at random on instances that die at random. In the end all is as it should be, and each event was a change.
func TestPresenceStorm(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const instances, users, rounds = 3, 30, 4
	fresh := func() *instance {
		return p.start(&db.Presence{Interval: 5 * time.Millisecond, Heartbeat: 50 * time.Millisecond, DeadAfter: 400 * time.Millisecond, Grace: 30 * time.Millisecond})
	}
	var all []*instance
	open := make([]map[string]int, instances) // the connections of each
	for n := range instances {
		all, open[n] = append(all, fresh()), make(map[string]int)
	}
	for round := range rounds {
		var group sync.WaitGroup
		for n, i := range all {
			random := rand.New(rand.NewPCG(seed, uint64(round*instances+n)))
			group.Go(func() {
				for range 600 {
					user := strconv.Itoa(random.IntN(users))
					if open[n][user] > 0 && random.IntN(2) == 0 {
						i.Leave(user)
						if open[n][user]--; open[n][user] == 0 {
							delete(open[n], user)
						}
					} else if random.IntN(5) == 0 {
						i.Arrive(user)
						open[n][user]++
					}
					pauseFor(t.Context(), time.Duration(random.IntN(4))*time.Millisecond)
				}
			})
		}
		group.Wait()
		if round < rounds-1 {
			n := round % instances
			all[n].kill()
			all[n], open[n] = fresh(), make(map[string]int)
		}
	}
	want := make(map[string]bool)
	for n := range open {
		for user := range open[n] {
			want[user] = true
		}
	}
	var got map[string]bool
	defer func() {
		if t.Failed() {
			t.Logf("online: %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}()
	await(t, "all to be as it should be", func() bool {
		got = make(map[string]bool)
		for _, e := range p.events() {
			if got[e.User] = e.Online; !e.Online {
				delete(got, e.User)
			}
		}
		return maps.Equal(got, want)
	})
	if view := p.texts(`select "user" from tidings.online order by 1`); !slices.Equal(view, slices.Sorted(maps.Keys(want))) {
		t.Errorf("tidings.online has %q", view)
	}
	t.Logf("%d events", len(p.events()))
}

// What can be loaded is what the events say.
func TestLoadPresence(t *testing.T) {
	t.Parallel()
	p := newPeople(t, dbtest.Database(t))
	a := p.start(&db.Presence{Grace: -1})
	a.Arrive("gone")
	p.expect("+gone")
	a.Leave("gone")
	for n := range 5 {
		a.Arrive(strconv.Itoa(n))
	}
	p.expect("+gone", "-gone", "+0", "+1", "+2", "+3", "+4")
	told := p.texts(`select distinct on (key) data::text from tidings.since($1) where topic = 'presence' order by key, id::int desc`, p.since)
	if got := p.texts(`select data from tidings.load('presence')`); !slices.Equal(got, told[:5]) {
		t.Errorf("loaded: %q, told %q", got, told)
	}
	if got := p.texts(`select data from tidings.load('presence', 'gone')`); !slices.Equal(got, told[5:]) {
		t.Errorf("loaded of one: %q, told %q", got, told[5:])
	}
	for _, c := range []struct{ args, want string }{
		{`max_rows => 2`, "01"},
		{`after => array['1'], max_rows => 2`, "23"},
		{`after => array['3']`, "4"},
		{`backwards => true, max_rows => 2`, "43"},
		{`backwards => true, after => array['3']`, "210"},
		{`max_bytes => 1`, "0"},
		{`key => 'nobody'`, ""},
	} {
		if got := p.texts(`select coalesce(string_agg(row_key, '' order by n), '') from tidings.load('presence', ` + c.args + `) with ordinality as l(place, row_key, data, n)`); got[0] != c.want {
			t.Errorf("%s: got %s, want %s", c.args, got[0], c.want)
		}
	}
	if _, err := p.db.Pool.Exec(t.Context(), `select tidings.load('presence', after => array['1', '2'])`); err == nil {
		t.Error("a place of two is taken")
	}
}

// The connection to the database goes silent: it is given up, and all that has happened is told on another.
func TestPresenceOverAHalfOpenNetwork(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	p := newPeople(t, cluster.URL())
	network, address := newNetwork(t, cluster.TCPURL())
	b := p.start(&db.Presence{})
	p.url = address
	a := p.start(&db.Presence{Timeout: time.Second})
	a.Arrive("ada")
	a.Arrive("bob")
	b.Arrive("eve")
	p.expect("+ada", "+bob", "+eve")
	network.freeze()
	a.Leave("bob")
	a.Arrive("mal")
	p.expect("+ada", "+bob", "+eve", "+mal")
	p.told(a)
	p.leaving("bob", true)
	p.expire("bob")
	p.sweptSince(b, "marker", "+ada", "+bob", "+eve", "+mal", "-bob")
}

// An instance with many users does not tell all of them every minute.
func TestCheckedLessOften(t *testing.T) {
	t.Parallel()
	p := &db.Presence{}
	for n := range 20_000 {
		if n == 1000 && p.CheckEvery() != time.Minute {
			t.Errorf("with 1,000 users all is told every %s", p.CheckEvery())
		}
		p.Arrive(strconv.Itoa(n))
	}
	if got, want := p.CheckEvery(), 100*time.Second; got != want {
		t.Errorf("with 20,000 users all is told every %s, not %s", got, want)
	}
}
