package tidings_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	tidings "tidings/clients/go"
	"tidings/cmd/tidings/programtest"
	"tidings/db/dbtest"
)

// The client is tried on the program itself, as it is run.

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = time.Minute

func TestMain(m *testing.M) { dbtest.Main(m) }

// program is the service's, which the first who asks builds.
var program = sync.OnceValues(func() (string, error) { return programtest.New("dev") })

func built(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// secret is that by which the tests sign tokens.
const secret = "by which the tests sign their tokens"

// token is a user's, from now on, to the microsecond: it may be asked for right behind a revocation.
func token(t testing.TB, user string, lives time.Duration) string {
	t.Helper()
	now := time.Now()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "iat": float64(now.UnixMicro()) / 1e6, "exp": float64(now.Add(lives).UnixMilli()) / 1000,
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// database is a database of a shop with its orders.
type database struct {
	t    testing.TB
	url  string
	pool *pgxpool.Pool
}

// order is one of the shop's.
type order struct {
	ID       int64  `json:"id"`
	Customer int    `json:"customer_id"`
	Note     string `json:"note"`
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{t: t, url: dbtest.Database(t)}
	var err error
	if d.pool, err = pgxpool.New(t.Context(), d.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.pool.Close)
	d.exec(`create table orders (id bigint generated always as identity primary key, customer_id int not null, note text not null)`)
	d.exec(`create table written (note text primary key)`) // what was ever written, of orders
	d.exec(`create table secrets (id int primary key, note text)`)
	if out, err := exec.Command(built(t), "migrate", "up", "--only", "live", "--database-url", d.url).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.exec(`select tidings.watch('orders', key => 'customer_id', read => 'public')`)
	d.exec(`select tidings.watch('secrets')`)
	return d
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.pool.Exec(d.t.Context(), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

// order writes an order.
func (d *database) order(customer int, note string) {
	d.t.Helper()
	d.exec(`insert into orders (customer_id, note) values ($1, $2)`, customer, note)
}

// orders are those that a condition holds for.
func (d *database) orders(where string) map[int64]order {
	d.t.Helper()
	rows, err := d.pool.Query(d.t.Context(), `select id, customer_id, note from orders where `+where)
	if err != nil {
		d.t.Fatal(err)
	}
	defer rows.Close()
	all := make(map[int64]order)
	for rows.Next() {
		var o order
		if err := rows.Scan(&o.ID, &o.Customer, &o.Note); err != nil {
			d.t.Fatal(err)
		}
		all[o.ID] = o
	}
	if err := rows.Err(); err != nil {
		d.t.Fatal(err)
	}
	return all
}

// service is a running service.
type service struct {
	t     testing.TB
	args  []string
	addr  string
	cmd   *exec.Cmd
	log   *programtest.Output
	ended chan struct{}
}

// serve starts a service, and returns when it is live.
func serve(t testing.TB, d *database, args ...string) *service {
	t.Helper()
	s := &service{t: t, addr: "127.0.0.1:0", args: append([]string{"--database-url", d.url}, args...)}
	s.start()
	t.Cleanup(func() { s.stop(syscall.SIGKILL) })
	return s
}

// start starts the service where it was before, if it was.
func (s *service) start() {
	s.t.Helper()
	s.cmd, s.log, s.ended = exec.Command(built(s.t), slices.Concat([]string{"serve", "--listen", s.addr}, s.args)...), &programtest.Output{}, make(chan struct{})
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TIDINGS_") && !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "DATABASE_URL=") {
			s.cmd.Env = append(s.cmd.Env, v)
		}
	}
	s.cmd.Env = append(s.cmd.Env, "TIDINGS_JWT_SECRET="+secret, "GORACE=atexit_sleep_ms=10")
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // it is in its log
		close(ended)
	}(s.cmd, s.ended)
	live := regexp.MustCompile(`msg=live address=(\S+)`)
	eventually(s.t, "the service is live", func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("the service ended: %s", s.log)
		default:
		}
		match := live.FindStringSubmatch(s.log.String())
		if match != nil {
			s.addr = match[1]
		}
		return match != nil
	})
}

func (s *service) stop(signal syscall.Signal) {
	_ = s.cmd.Process.Signal(signal) // it may have ended
	<-s.ended
}

func (s *service) client() *tidings.Client {
	return &tidings.Client{URL: "http://" + s.addr, Backoff: quick}
}

// quick is a pause for tests.
var quick = tidings.Backoff{Min: 10 * time.Millisecond, Max: 500 * time.Millisecond}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s it is still not so that %s", patience, what)
		case <-tick.C:
		}
	}
}

// following is a Follow in a goroutine of its own.
type following struct {
	t        testing.TB
	messages chan tidings.Message
	states   chan tidings.State // not all, if nobody looks
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // then
}

// follow begins to follow. It ends with the test.
func follow(t testing.TB, c *tidings.Client, o tidings.Options) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{t: t, messages: make(chan tidings.Message, 1000), states: make(chan tidings.State, 1000), cancel: cancel, ended: make(chan struct{})}
	told := o.OnState
	o.OnState = func(s tidings.State, err error) {
		if told != nil {
			told(s, err)
		}
		select {
		case f.states <- s:
		default:
		}
	}
	go func() {
		defer close(f.ended)
		for m, err := range c.Follow(ctx, o) {
			if err != nil {
				f.err = err
				continue // it is the last
			}
			select {
			case f.messages <- m:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-f.ended
	})
	return f
}

// next is the next message but for those of nothing but a place.
func (f *following) next() tidings.Message {
	f.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case m := <-f.messages:
			if m.Kind != tidings.Place {
				return m
			}
		case <-f.ended:
			if len(f.messages) == 0 { // nobody adds any more
				f.t.Fatalf("it ended: %v", f.err)
			}
		case <-timer.C:
			f.t.Fatal("nothing comes")
		}
	}
}

// expect reads the next message, which must be of the kind.
func (f *following) expect(kind tidings.Kind) tidings.Message {
	f.t.Helper()
	m := f.next()
	if m.Kind != kind {
		f.t.Fatalf("got %s %s, want %s", m.Kind, m.Raw, kind)
	}
	return m
}

// expectOrder reads the next message but for those that a channel is live, which must be an event of an order with the note.
func (f *following) expectOrder(note string) tidings.Message {
	f.t.Helper()
	m := f.next()
	for m.Kind == tidings.Live {
		m = f.next()
	}
	if m.Kind != tidings.Event {
		f.t.Fatalf("got %s %s, want the order %q", m.Kind, m.Raw, note)
	}
	var o order
	if err := m.Decode(&o); err != nil {
		f.t.Fatal(err)
	}
	if o.Note != note {
		f.t.Fatalf("got the order %q, want %q", o.Note, note)
	}
	return m
}

// expectState waits for a state.
func (f *following) expectState(want tidings.State) {
	f.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case s := <-f.states:
			if s == want {
				return
			}
		case <-timer.C:
			f.t.Fatalf("it does not become %s", want)
		}
	}
}

// end waits for the end, which must be an error, and returns it.
func (f *following) end() error {
	f.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-f.messages:
		case <-f.ended:
			if f.err == nil {
				f.t.Fatal("it ended without an error")
			}
			return f.err
		case <-timer.C:
			f.t.Fatal("it does not end")
		}
	}
}

// expectRefusal waits for the end, which must be an *Error with the code.
func (f *following) expectRefusal(code tidings.Code) {
	f.t.Helper()
	_ = f.refusal(code)
}

// refusal is the same, and returns it.
func (f *following) refusal(code tidings.Code) *tidings.Error {
	f.t.Helper()
	err := f.end()
	var refused *tidings.Error
	if !errors.As(err, &refused) || refused.Code != code || refused.Message == "" {
		f.t.Fatalf("it ended with %v, want an error %s", err, code)
	}
	return refused
}
