package redis_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/redis/redistest"
)

// way is a way to a database on which everything stops, and connections stay open, while it is locked.
type way struct {
	sync.RWMutex
	url string
}

func newWay(t *testing.T, address string) *way {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	w := &way{url: u.String()}
	var group sync.WaitGroup
	carry := func(to, from net.Conn) {
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			w.RLock()
			_, err = to.Write(buffer[:n])
			w.RUnlock()
			if err != nil {
				return
			}
		}
	}
	group.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			group.Go(func() { carry(far, near) })
			group.Go(func() { carry(near, far) })
		}
	})
	t.Cleanup(func() { // behind whoever uses it
		_ = listener.Close()
		group.Wait()
	})
	return w
}

// The one that leads, or one that follows, hears nothing of PostgreSQL any more, and is not told so: the others go on, and it comes back.
func TestCutOffFromPostgreSQL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cluster := dbtest.StartCluster(t, nil)
	database := newDatabase(t, cluster.TCPURL())
	ways := make(map[*instance]*way)
	var all []*instance
	for range 2 {
		w := newWay(t, cluster.TCPURL())
		own, err := db.Open(t.Context(), w.url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(own.Close)
		// Redis is not what is to be lost.
		i := start(t, own, server.URL(), func(i *instance) { i.relay.Lease, i.relay.Timeout = patience/3, patience/3 })
		ways[i], all = w, append(all, i)
	}
	first := leader(t, all...)
	other := all[0]
	if other == first {
		other = all[1]
	}
	goesOn(t, all, func() { write(t, database, 1, 5) })

	ways[other].Lock()
	goesOn(t, all, func() { write(t, database, 1, 5) }) // what is relayed needs no PostgreSQL
	ways[other].Unlock()

	ways[first].Lock()
	begun := time.Now()
	goesOn(t, []*instance{other}, func() { write(t, database, 1, 5) })
	t.Logf("the other is told after %s", time.Since(begun))
	leader(t, other)
	await(t, "the one that is cut off to say so", func() bool { return !first.reader.Status().Live })
	ways[first].Unlock()
	leader(t, all...)
	await(t, "what was written meanwhile", func() bool { return len(first.told()) == len(other.told()) })
	goesOn(t, all, func() { write(t, database, 1, 5) })
}
