package db

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// A transaction that notifies costs all others time, so writers ring the doorbell only for a reader that is asleep. One
// that has much to read stays awake.
const (
	// A reader that is awake waits between two reads, and what is written meanwhile comes together: so long that it
	// reads for a twentieth of the time, but no longer than writers' clients may wait, and no shorter than is of use.
	awakeShare    = 20
	awakeLongest  = 10 * time.Millisecond
	awakeShortest = 2 * time.Millisecond
	// attendWindow is the time over which transactions are counted: at so many of them the reader wakes up, and if there
	// were fewer than the other it falls asleep.
	attendWindow = 200 * time.Millisecond
	wakeAt       = 40
	sleepBelow   = 20
	// attendEvery is how often a reader says that it is still there.
	attendEvery = 10 * time.Second
	// unheardPoll is how often is read while nobody would hear the doorbell, though somebody should.
	unheardPoll = 50 * time.Millisecond
)

// attention is whether a reader waits for the doorbell.
type attention struct {
	asleep bool   // that is what writers are told
	mark   uint64 // while it falls asleep: whoever may have been told otherwise has a lower transaction id
	slow   int    // reads since then
	said   time.Time
	window time.Time
	heard  int           // transactions in the window
	took   time.Duration // the last read, with all that it caused
}

// saw notes what a read could see.
func (a *attention) saw(now realtime.Snapshot) {
	if a.mark == 0 {
		return
	}
	a.slow++
	if now.Xmin >= a.mark {
		a.mark, a.slow = 0, 0
	}
}

// attend decides, after a read, whether to wake up or to fall asleep, and says so.
func (r *Reader) attend(ctx context.Context, conn *pgx.Conn, a *attention, transactions int) error {
	now := time.Now()
	a.heard += transactions
	asleep := a.asleep
	if passed := now.Sub(a.window); passed > attendWindow || a.heard >= wakeAt {
		switch {
		case a.heard >= wakeAt && passed <= attendWindow:
			asleep = r.NoListen // then nothing is waited for in any case
		case a.heard < sleepBelow:
			asleep = true
		}
		a.window, a.heard = now, 0
	}
	if asleep == a.asleep && now.Sub(a.said) < attendEvery {
		return nil
	}
	return r.say(ctx, conn, a, asleep)
}

// say tells writers whether the doorbell is to be rung. Who falls asleep reads on until all who may have been told
// otherwise have ended.
func (r *Reader) say(ctx context.Context, conn *pgx.Conn, a *attention, asleep bool) error {
	// Not to be given up in the middle: the server could finish it after leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
	defer cancel()
	if _, err := conn.Exec(ctx, `select tidings.attend($1, $2)`, r.name, asleep && !r.NoListen); err != nil {
		return fmt.Errorf("attend to the doorbell: %w", explain(err))
	}
	a.said = time.Now()
	switch {
	case !asleep:
		a.mark = 0
	case !a.asleep:
		var mark string
		if err := conn.QueryRow(ctx, `select pg_current_xact_id()::text`).Scan(&mark); err != nil {
			return fmt.Errorf("attend to the doorbell: %w", explain(err))
		}
		n, err := strconv.ParseUint(mark, 10, 64)
		if err != nil {
			return fmt.Errorf("attend to the doorbell: %w", err)
		}
		a.mark, a.slow = n, 0
	}
	if a.asleep != asleep {
		r.mu.Lock()
		r.awake = !asleep
		r.turns++
		r.mu.Unlock()
	}
	a.asleep = asleep
	return nil
}

// wait is how long the reader may wait for the doorbell before it reads again.
func (r *Reader) wait(a *attention) time.Duration {
	switch {
	case r.NoListen:
		return r.PollInterval
	case !a.asleep:
		return min(r.PollInterval, max(awakeShortest, min((awakeShare-1)*a.took, awakeLongest)))
	case a.mark != 0:
		// A transaction that has been open for long is waited for at leisure.
		return min(r.PollInterval, awakeShortest*time.Duration(1+a.slow/4), 50*time.Millisecond)
	case !r.hears():
		return min(r.PollInterval, unheardPoll)
	}
	return r.PollInterval
}

func (r *Reader) hears() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listening
}

// leave says that the reader is gone, if that can be said; not on its own connection, which may have been closed in the
// middle of something.
func (r *Reader) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
	defer cancel()
	_, _ = r.DB.Pool.Exec(ctx, `select tidings.leave($1)`, r.name) // otherwise the others find out
}
