package bench

import (
	"context"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// generator is this process itself, while it measures: what it used, and whether it came in time.
type generator struct {
	clock   clock
	begun   int64
	cpu     time.Duration // when it began
	known   bool
	stop    context.CancelFunc
	stopped chan struct{}
	late    *hdrhistogram.Histogram
}

// watchGenerator begins to watch, until end is called.
func watchGenerator(ctx context.Context, clock clock) *generator {
	g := &generator{clock: clock, begun: clock.now(), stopped: make(chan struct{}), late: newHistogram()}
	g.cpu, g.known = ownCPU()
	ctx, g.stop = context.WithCancel(ctx)
	go g.pulse(ctx)
	return g
}

// pulse notes how late this process does what should be done now. Where it is late, so are its writers, and its subscribers
// take in what has come long before.
func (g *generator) pulse(ctx context.Context) {
	defer close(g.stopped)
	for due := g.clock.now(); ; {
		due += int64(10 * time.Millisecond)
		if !g.clock.until(ctx, due) {
			return
		}
		now := g.clock.now()
		record(g.late, now-due)
		due = max(due, now-int64(10*time.Millisecond))
	}
}

// end ends the watch and returns what there was to see.
func (g *generator) end() GeneratorUsage {
	g.stop()
	<-g.stopped
	u := GeneratorUsage{Cores: runtime.GOMAXPROCS(0), LateP99: milliseconds(g.late.ValueAtQuantile(99))}
	cpu, known := ownCPU()
	if known && g.known {
		u.CPUSeconds = new((cpu - g.cpu).Seconds())
		u.CPUShare = new((cpu - g.cpu).Seconds() / time.Duration(g.clock.now()-g.begun).Seconds() / float64(u.Cores))
	}
	return u
}
