package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is the network between two sides, over which all their connections go.
type wire struct {
	proxy   *toxiproxy.Proxy
	address string // where one connects to it; it stays the same
	added   []string
}

func newWire(upstream string) (*wire, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to the standard error by a logger of their own
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &wire{proxy: toxiproxy.NewProxy(server, "wire", "127.0.0.1:0", upstream)}
	err := w.proxy.Start()
	w.address = w.proxy.Listen
	return w, err
}

// cut ends all connections, and refuses new ones.
func (w *wire) cut() { w.proxy.Stop() }

// mend has connections accepted again.
func (w *wire) mend() error { return w.proxy.Start() }

// lead has the wire end elsewhere. Connections are ended, and a wire that was cut is mended.
func (w *wire) lead(upstream string) error {
	w.proxy.Stop()
	w.proxy.Upstream = upstream
	return w.proxy.Start()
}

// toxic makes the wire worse in both directions.
func (w *wire) toxic(kind string, attributes map[string]int) error {
	for _, stream := range []string{"upstream", "downstream"} {
		if err := w.toxicOneWay(kind, stream, attributes); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) toxicOneWay(kind, stream string, attributes map[string]int) error {
	text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
	if err != nil {
		return err
	}
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
		return fmt.Errorf("toxic %s: %w", kind, err)
	}
	w.added = append(w.added, kind+"_"+stream)
	return nil
}

// clear takes all toxics away.
func (w *wire) clear() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range w.added {
		if err := w.proxy.Toxics.RemoveToxic(ctx, name); err != nil {
			return fmt.Errorf("remove toxic %s: %w", name, err)
		}
	}
	w.added = nil
	return nil
}

func (w *wire) close() { w.proxy.Stop() }
