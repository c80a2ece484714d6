package bench

import (
	"io"
	"net/url"
	"time"
)

// Options say what load there is. All are needed, but for those whose zero says something.
type Options struct {
	Server      *url.URL // the service
	Transport   Transport
	Subscribers int
	Channels    int           // over which subscribers and rows are spread
	Writers     int           // connections that write
	Rate        float64       // rows a second, of all writers together; 0: as fast as they can
	Payload     int           // bytes of text in a row
	Duration    time.Duration // of what is measured
	Warmup      time.Duration // before that
	Drain       time.Duration // how long nothing may come before what is lacking counts as lost
	ConnectRate float64       // connections opened in a second; 0: as fast as the service takes them
	Every       time.Duration // between two lines of progress; 0: none
	Progress    io.Writer     // where they go
}

// Transport is how subscribers are connected.
type Transport string

// The transports, by the paths that they have in the service.
const (
	WebSocket Transport = "ws"     // /ws
	Envelope  Transport = "events" // /ws/events
	SSE       Transport = "sse"    // /events
)
