package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is the network between two sides, over which all their connections go.
type wire struct {
	proxy   *toxiproxy.Proxy
	address string // where one connects to it; it stays the same
}

func newWire(upstream string) (*wire, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to the standard error by a logger of their own
	w := &wire{address: "127.0.0.1:0"}
	err := w.lay(upstream)
	w.address = w.proxy.Listen
	return w, err
}

// lay begins anew, with a proxy that has the toxics from its beginning. Taking one from a proxy that carries something can
// block for ever.
func (w *wire) lay(upstream string, toxics ...toxic) error {
	if w.proxy != nil {
		w.proxy.Stop()
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w.proxy = toxiproxy.NewProxy(server, "wire", w.address, upstream)
	for _, t := range toxics {
		if err := w.add(t); err != nil {
			return err
		}
	}
	return w.proxy.Start()
}

// cut ends all connections, and refuses new ones.
func (w *wire) cut() { w.proxy.Stop() }

// mend has connections accepted again, by a wire as good as new. Those that there are end.
func (w *wire) mend() error { return w.lay(w.proxy.Upstream) }

// lead has the wire end elsewhere. Connections are ended, and a wire that was cut is mended.
func (w *wire) lead(upstream string) error { return w.lay(upstream) }

// spoil makes the wire worse. Connections that there are end.
func (w *wire) spoil(t toxic) error { return w.lay(w.proxy.Upstream, t) }

// silence has the wire swallow what it is given, on the connections that there are and on new ones.
func (w *wire) silence() error { return w.add(toxic{"timeout", map[string]int{"timeout": 0}}) }

// toxic is a way in which a network is bad, in both directions.
type toxic struct {
	kind       string
	attributes map[string]int
}

func (w *wire) add(t toxic) error {
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"type": t.kind, "stream": stream, "attributes": t.attributes})
		if err != nil {
			return err
		}
		if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			return fmt.Errorf("toxic %s: %w", t.kind, err)
		}
	}
	return nil
}

func (w *wire) close() { w.proxy.Stop() }
