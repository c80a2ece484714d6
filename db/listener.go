package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgxlisten"
)

// doorbell is the NOTIFY channel on which triggers ring. Anybody may ring, and a ring has the reader look, no more.
const doorbell = "tidings"

// silenceLimit is how long the listener may hear nothing at all before its connection is taken for dead. The reader
// has the database notify the listener well within it.
const silenceLimit = 5 * time.Second

// ring is the payload of a doorbell notification: which transaction wrote to which topic, or that what can be subscribed to has
// changed. What was written is in the log.
type ring struct {
	Topic   string `json:"topic,omitempty"`
	Xid     string `json:"xid,omitempty"`
	Watches string `json:"watches,omitempty"`
}

// listen hears the doorbell until ctx ends. It is the only goroutine that decodes notifications, and it does nothing
// else: the reader reads.
func (r *Reader) listen(ctx context.Context) error {
	told := false
	for {
		following, changed := r.following()
		if following { // what this one has to hear is relayed
			select {
			case <-ctx.Done():
				return nil // ctx ended
			case <-changed:
			}
			continue
		}
		listening, stop := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() {
			select {
			case <-listening.Done():
			case <-changed:
				stop()
			}
		})
		err := r.listenConn(listening)
		stop()
		watch.Wait()
		if ctx.Err() != nil {
			return nil // ctx ended
		}
		switch {
		case errors.Is(err, errShared):
			if !told {
				r.Logger.Error("LISTEN is not heard through a transaction pooler: give a --direct-database-url that leads past it, or --no-listen-notify; polling until then",
					"poll", unheardPoll)
			}
			told = true
			if !pause(ctx, listenAgain) {
				return nil
			}
		case err != nil:
			return fmt.Errorf("listen: %w", err)
		}
	}
}

// listenAgain is when it is tried again to listen where a transaction pooler was in the way.
const listenAgain = time.Minute

// listenConn listens until ctx ends, or the watchdog finds the connection silent: pgxlisten waits for ever, and a
// connection whose other end has vanished says nothing.
func (r *Reader) listenConn(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)

	var unheard atomic.Bool // it was said that nothing is heard
	var listener *pgxlisten.Listener
	var handler *bellHandler
	listener = &pgxlisten.Listener{
		Connect: func(ctx context.Context) (*pgx.Conn, error) {
			conn, err := r.DB.connect(ctx, "listener")
			if err != nil {
				return nil, err
			}
			if err := r.DB.checkSession(ctx, conn); err != nil {
				if errors.Is(err, errShared) {
					cancel(err)
				}
				return nil, errors.Join(err, conn.Close(ctx))
			}
			if handler.signals, err = signalsOf(ctx, conn); err != nil {
				return nil, errors.Join(err, conn.Close(ctx))
			}
			listener.Handle(handler.signals, handler) // it listens to what has a handler when this has returned
			handler.unheard = map[string]bool{doorbell: true, r.pingChannel(): true, handler.signals: true}
			return conn, nil
		},
		LogError: func(_ context.Context, err error) {
			r.setListening(false)
			r.Nudge() // from here on it polls
			if ctx.Err() == nil && !unheard.Swap(true) {
				r.Logger.Warn("the doorbell is not heard; polling until it is", "error", explain(err))
			}
		},
		ReconnectDelay: 250 * time.Millisecond,
	}
	handler = &bellHandler{reader: r, connected: func() {
		r.setListening(true)
		if unheard.Swap(false) {
			r.Logger.Info("the doorbell is heard again")
		}
		r.Nudge() // what was written while nobody listened
	}}
	listener.Handle(doorbell, handler)
	listener.Handle(r.pingChannel(), handler)

	watch.Go(func() {
		tick := time.NewTicker(silenceLimit / 5)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				switch {
				case !r.deaf():
				case r.DB.direct.leadsThroughPooler():
					cancel(errShared)
					return
				default:
					r.Logger.Warn("the doorbell's connection is silent; opening another")
					cancel(nil)
					return
				}
			}
		}
	})
	err := listener.Listen(ctx)
	r.setListening(false)
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errShared) {
			return cause
		}
		return nil
	}
	return err
}

// bellHandler is called by pgxlisten's goroutine alone.
type bellHandler struct {
	reader    *Reader
	connected func()
	signals   string          // the channel on which they are told
	unheard   map[string]bool // the channels on which LISTEN has not taken effect
}

// HandleBacklog is called when LISTEN has taken effect on a channel, in any order of them.
func (h *bellHandler) HandleBacklog(_ context.Context, channel string, _ *pgx.Conn) error {
	delete(h.unheard, channel)
	if len(h.unheard) == 0 {
		h.connected()
	}
	return nil
}

// HandleNotification decodes a notification and has the reader act.
func (h *bellHandler) HandleNotification(_ context.Context, n *pgconn.Notification, _ *pgx.Conn) error {
	h.reader.setListening(true)
	switch n.Channel {
	case h.signals:
		s, err := decodeSignal(n.Payload)
		if err != nil {
			h.reader.Logger.Warn("a signal is left out", "error", err)
			break
		}
		h.reader.Sink.Signal(s)
		if h.reader.Relay != nil {
			h.reader.Relay.Signal(s)
		}
	case doorbell:
		h.rung(n.Payload)
	default: // the ping
	}
	return nil
}

// rung has the reader look. Whatever else is said here is somebody else's, or a newer version's: a read too many costs little.
func (h *bellHandler) rung(payload string) {
	var ring ring
	if err := json.Unmarshal([]byte(payload), &ring); err == nil && ring.Watches != "" {
		h.reader.askTopics(nil) // it stands in the log as well
	}
	h.reader.Nudge()
}

func (r *Reader) setListening(listening bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listening = listening
	if listening {
		r.heard = time.Now()
	}
}

// deaf reports whether a connection that listens has been silent for too long after a ping.
func (r *Reader) deaf() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listening && r.pinged.After(r.heard) && time.Since(r.pinged) > silenceLimit/2
}

// pingChannel is this reader's own NOTIFY channel.
func (r *Reader) pingChannel() string { return doorbell + "_" + r.name }

// ping has the database notify the listener, if it has heard nothing for a while.
func (r *Reader) ping(ctx context.Context, conn *pgx.Conn) error {
	r.mu.Lock()
	quiet := r.listening && time.Since(r.heard) > silenceLimit/4
	r.mu.Unlock()
	if !quiet {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if _, err := conn.Exec(ctx, `select pg_notify($1, '')`, r.pingChannel()); err != nil {
		return fmt.Errorf("ping the listener: %w", explain(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.pinged.After(r.heard) {
		r.pinged = time.Now()
	}
	return nil
}
