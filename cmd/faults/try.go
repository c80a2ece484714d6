package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tryLimit is how long one fault may take in all, beyond the time in which writers write.
const tryLimit = 6 * time.Minute

// row is what a trial has shown.
type row struct {
	trial
	skipped string // why it was not tried
	tally
	times       *int // how often something was broken; nil: it does not count
	written     int  // events
	connections int
	refused     int
	misled      int // who was believed to be online and was not, or the reverse
	vanished    int // transactions that the database acknowledged and lost
	remarks     []string
	wrong       []string // what should not have been, besides the figures
}

// good reports whether all is as it should be.
func (r *row) good() bool {
	return r.lost == 0 && r.doubled == 0 && r.disordered == 0 && r.untrue == 0 && r.leaked == 0 && r.misled == 0 && len(r.wrong) == 0
}

// try runs one trial. An error says that it could not be run; what it has shown is in the row.
func (w *workshop) try(ctx context.Context, t trial, l load) (r row, err error) {
	r.trial = t
	if err := t.possible(); err != nil {
		r.skipped = "not tried: " + err.Error()
		return r, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.duration+tryLimit, fmt.Errorf("it took longer than %s", l.duration+tryLimit))
	defer cancel()
	s, err := w.newStage(ctx, t, l)
	defer func() {
		if s == nil {
			return
		}
		if closing := s.close(); closing != nil && err == nil {
			err = closing
		}
	}()
	var cannot impossibleError
	if errors.As(err, &cannot) {
		r.skipped = "not tried: " + cannot.Error()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := s.play(ctx); err != nil {
		return r, err
	}
	return r, s.judge(ctx, &r)
}

// play has the writers write while the fault breaks things.
func (s *stage) play(ctx context.Context) error {
	s.crowd.restless.Store(true)
	s.writers.start(ctx, s.load.writers)
	playing, stop := context.WithTimeout(ctx, s.load.duration)
	defer stop()
	var err error
	if s.fault.cause != nil {
		err = s.fault.cause(playing, s)
	}
	<-playing.Done()
	stop()
	if err != nil {
		return err
	}
	s.workshop.say("the writers finish")
	s.writers.finish()
	s.crowd.restless.Store(false)
	return ctx.Err()
}

// judge waits for the clients, and counts.
func (s *stage) judge(ctx context.Context, r *row) error {
	var t *truth
	for _, next := range []func(context.Context) error{func(context.Context) error { return nil }, s.sign} {
		err := next(ctx)
		if err != nil {
			return err
		}
		if t, err = learnTruth(ctx, s.primary(), s.writers.histories()); err != nil {
			return err
		}
		s.workshop.say("%d events are to be told", len(t.facts))
		if err := s.awaitTold(ctx, t); err != nil {
			return err
		}
	}
	if err := s.countPresence(ctx, r); err != nil {
		return err
	}
	untold := 0
	for _, c := range s.crowd.clients {
		told := t.count(c.told())
		r.add(told)
		if told.resets == 0 && c.guest == nil { // a guest may not have been back since
			untold++
		}
	}
	if untold > 0 && s.fault.resets == resetsAlways {
		r.wrong = append(r.wrong, fmt.Sprintf("%d of %d clients were not told to load afresh, and each had to be", untold, len(s.crowd.clients)))
	}
	r.written, r.connections, r.refused = len(t.facts), s.crowd.connections(), s.writers.refused()
	r.remarks = append(r.remarks, s.remarks...)
	if r.vanished = t.lostTx; r.vanished > 0 {
		r.remarks = append(r.remarks, fmt.Sprintf("%d acknowledged transactions were lost by the database itself", r.vanished))
	}
	if r.refused > 0 {
		r.remarks = append(r.remarks, fmt.Sprintf("the database refused %d transactions", r.refused))
	}
	if r.resets > 0 && s.fault.resets == resetsNever {
		r.wrong = append(r.wrong, fmt.Sprintf("clients were told to load afresh, and need not have been: %v", s.crowd.reasons))
	}
	r.times = s.times
	if r.times != nil && *r.times == 0 {
		r.wrong = append(r.wrong, "nothing was broken")
	}
	if s.crowd.moves() == 0 && s.fleet.size() > 1 {
		r.wrong = append(r.wrong, "no client came to another instance")
	}
	r.wrong = append(r.wrong, s.crowd.odd()...)
	for _, one := range s.services {
		if !one.process.running() {
			r.wrong = append(r.wrong, "tidings ended: "+one.process.tail(3))
		}
	}
	if s.fault.check != nil {
		s.fault.check(s, r)
	}
	if r.example != "" {
		r.remarks = append(r.remarks, "out of order, for example: "+r.example)
	}
	if len(r.missing) > 0 {
		r.remarks = append(r.remarks, t.sayLost(r.missing))
	}
	s.workshop.say("connections %d, %d of them to another instance than before, goodbyes %v, resets %v", r.connections, s.crowd.moves(), s.crowd.goodbyes, s.crowd.reasons)
	if s.workshop.verbose {
		for _, one := range s.services {
			s.workshop.say("the service's log ends with:\n%s", one.process.tail(12))
		}
	}
	return nil
}
