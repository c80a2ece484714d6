package db

import (
	"log/slog"
	"sync"
	"time"
)

// goneAfter is after what silence an instance is taken for gone; tidings.running has it, too.
const goneAfter = 10 * time.Second

// otherInstance is what an instance knows of another.
type otherInstance struct {
	Name, Host, Address string
	Stopping            bool
	SilentFor           time.Duration
}

// others are the other instances, as this one last heard of them.
type others struct {
	mu     sync.Mutex
	known  []otherInstance
	gone   map[string]bool // of them, those of which it was said; nil: nothing was heard yet
	at     time.Time       // when it heard of them
	steady time.Time       // since when it has without a gap: who was cut off itself has no business to take others for gone
}

// heard says what has become of the others. One that is not among them any more has left, or it was said before that it is gone.
func (o *others) heard(now []otherInstance, at time.Time, logger *slog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at.Sub(o.at) > goneAfter/2 {
		o.steady = at
	}
	gone := make(map[string]bool)
	for _, i := range now {
		silent := i.SilentFor > goneAfter
		was := o.gone[i.Name]
		switch {
		case silent && !was && at.Sub(o.steady) > goneAfter:
			logger.Warn("an instance is gone without a word", "host", i.Host, "address", i.Address, "instance", i.Name, "silent_for", i.SilentFor.Round(time.Second))
			was = true
		case !silent && was:
			logger.Info("an instance that was gone is back", "host", i.Host, "address", i.Address, "instance", i.Name)
			was = false
		}
		gone[i.Name] = was
	}
	o.known, o.gone, o.at = now, gone, at
}

// none reports that there are no others, or that those there are stop as well.
func (o *others) none(at time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone == nil || at.Sub(o.at) > goneAfter/2 {
		return false
	}
	for _, i := range o.known {
		if !i.Stopping && i.SilentFor <= goneAfter {
			return false
		}
	}
	return true
}
