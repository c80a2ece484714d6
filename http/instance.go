package http

import (
	"os"
	"sync"
	"time"

	"tidings/realtime"
)

// Named is what tells this instance from the others.
type Named struct {
	Name    string // random, of this run
	Version string
	Address string // where it listens
}

// Status is how the instance is doing, all of it from memory.
func (s *Server) Status() realtime.Instance {
	s.init()
	h := s.Health()
	stats := s.Hub.Stats()
	i := realtime.Instance{
		Name: s.Instance.Name, Version: s.Instance.Version, Host: hostname(), Address: s.Instance.Address, At: time.Now().UTC(),
		Relay: h.Relay, Live: h.Live, Listening: h.Listening, Beating: h.Beating, Stopping: s.stopping.Load(), LastRead: h.LastRead, LagSeconds: h.Lag.Seconds(),
		Events: h.Events, Missing: h.Missing, Delivered: stats.Delivered, Judged: stats.Judged, Queries: stats.Reads,
		Connections: int(s.connections.Load()), MaxConnections: s.options.MaxConnections, Users: s.persons.count(),
		Subscribers: stats.Subscribers, Behind: stats.Behind, Waiting: stats.Waiting, RecentBytes: stats.Recent,
		Topics: stats.Subscriptions, Refused: s.refusals.totals(stats.Refused), StartedAt: startedAt,
	}
	i.Channels, i.AllChannels = s.largest.channels(s.Hub)
	if s.Graph != nil {
		g := s.Graph.Stats()
		i.Plans, i.Subscriptions, i.Executions, i.Statements = g.Plans, g.Subscriptions, g.Executions, g.Statements
	}
	if used := usedByProcess(); used != nil {
		i.CPUSeconds, i.MemoryBytes = used.CPUSeconds, used.MemoryBytes
	}
	return i
}

// hostname is the machine's name.
var hostname = sync.OnceValue(func() string {
	name, _ := os.Hostname() // empty: it has none
	return name
})

// count is how many users there are.
func (p *persons) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.there)
}

// largest are the channels with the most subscribers, which are looked for among all, and so not too often: whoever asks.
type largest struct {
	mu    sync.Mutex
	at    time.Time
	found []realtime.ChannelCount
	all   bool
}

// How many channels an instance tells of, and for how long that is good enough.
const (
	largestChannels = 50
	largestFor      = time.Second
)

func (l *largest) channels(hub *realtime.Hub) ([]realtime.ChannelCount, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) > largestFor {
		l.found, l.all = hub.Channels(largestChannels)
		l.at = time.Now()
	}
	return l.found, l.all
}
