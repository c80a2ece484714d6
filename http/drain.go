package http

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// easyPace is how many clients a second are asked to move, where that does not take too long: as many are no burden to whoever takes
// them, and who has few is done at once.
const easyPace = 100

// drain has the clients move to other instances: it lets load balancers notice that this one stops, and then asks the clients one by
// one, in an order and at moments that are left to chance, so that those who take them are not overrun. It returns when all have been
// asked, or have gone by themselves, or nobody listens any more.
func (s *Server) drain(listening context.Context, server *http.Server) {
	s.stopping.Store(true)
	s.Logger.Info("stopping", "clients", s.connections.Load(), "delay", s.options.DrainDelay)
	sleepUntil(listening, time.Now().Add(s.options.DrainDelay))

	server.SetKeepAlivesEnabled(false) // or who comes back would do so on the connection on which its stream has ended
	clients, gone := s.takeNoMore()
	ctx, cancel := context.WithCancel(listening)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		select {
		case <-gone:
			cancel() // nobody is left to be asked
		case <-ctx.Done():
		}
	})
	step := s.pace(len(clients))
	if len(clients) > 0 {
		s.Logger.Info("the clients are asked to move", "clients", len(clients), "over", step*time.Duration(len(clients)))
	}
	begun := time.Now()
	for i, c := range clients {
		if step > 0 {
			sleepUntil(ctx, begun.Add(time.Duration(i)*step+rand.N(step)))
		}
		c.leave(goodbyeShutdown)
	}
}

// pace is how long a client has for itself, of so many, in which it is asked to move.
func (s *Server) pace(clients int) time.Duration {
	if clients == 0 || s.options.DrainTime < 0 || s.Alone != nil && s.Alone() {
		return 0 // there is nothing to be gained: who has nowhere to go waits, whenever he is told
	}
	return min(time.Second/easyPace, s.options.DrainTime/time.Duration(clients))
}

// takeNoMore has no more clients be taken. It returns those who are there, in any order; gone is closed when all of them are not any
// more.
func (s *Server) takeNoMore() (clients []*conn, gone <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	for c := range s.conns {
		clients = append(clients, c)
	}
	rand.Shuffle(len(clients), func(i, k int) { clients[i], clients[k] = clients[k], clients[i] })
	left := make(chan struct{})
	go func() {
		s.group.Wait()
		close(left)
	}()
	return clients, left
}

// awaitGone waits until all clients are gone, and when ctx ends cuts off those who are not. It returns how many that were.
func (s *Server) awaitGone(ctx context.Context) (cut int) {
	gone := make(chan struct{})
	go func() {
		s.await()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		cut = s.disconnectAll()
		<-gone
	}
	return cut
}

// sleepUntil sleeps until then, or until ctx ends.
func sleepUntil(ctx context.Context, then time.Time) {
	timer := time.NewTimer(time.Until(then))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
