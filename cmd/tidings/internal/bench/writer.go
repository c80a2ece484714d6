package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"tidings/db"
)

// writers are the connections that write.
type writers struct {
	clock   clock
	content string
	writers []*db.BenchWriter
	late    []*hdrhistogram.Histogram // of each, how late rows were begun
}

// connectWriters connects all of them.
func connectWriters(ctx context.Context, o *Options, clock clock, table *db.BenchTable) (*writers, error) {
	w := &writers{clock: clock, content: strings.Repeat("tidings ", o.Payload/8+1)[:o.Payload]}
	for range o.Writers {
		writer, err := table.Writer(ctx)
		if err != nil {
			w.close(ctx)
			return nil, fmt.Errorf("a writer cannot be connected: %w", err)
		}
		w.writers = append(w.writers, writer)
		w.late = append(w.late, newHistogram())
	}
	return w, nil
}

// write writes what the ledger has, until there is no more.
func (w *writers) write(ctx context.Context, ledger *ledger) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, writer := range w.writers {
		group.Go(func() error {
			for {
				r, ok := ledger.take(w.clock.now())
				if !ok || !w.clock.until(ctx, r.due) {
					return nil // ctx ended
				}
				begun := w.clock.now()
				if r.due >= ledger.measured {
					record(w.late[i], begun-r.due)
				}
				err := writer.Write(ctx, db.BenchRow{
					Channel: r.number % ledger.channels, Sequence: r.number / ledger.channels,
					Settled: ledger.settled.Load(), SentAt: r.due, Content: w.content,
				})
				if err != nil {
					return fmt.Errorf("a row cannot be written: %w", err)
				}
				ledger.commit(r.number, w.clock.now())
			}
		})
	}
	return group.Wait()
}

// lateness is how late rows were begun, as no writer was free or none was woken in time.
func (w *writers) lateness() *hdrhistogram.Histogram {
	merged := newHistogram()
	for _, h := range w.late {
		merged.Merge(h)
	}
	return merged
}

func (w *writers) close(ctx context.Context) {
	for _, writer := range w.writers {
		writer.Close(ctx)
	}
}
