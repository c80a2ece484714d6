package tidings

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// conn is one connection. A goroutine of its own reads, so that pings are answered and tokens renewed while the loop takes its time.
type conn struct {
	client    *Client
	ws        *websocket.Conn
	frames    chan *frame // closed when reading has ended, for the reason in err
	err       error
	after     time.Duration // of silence, there is a ping
	timeout   time.Duration
	ping      *time.Timer
	renewed   chan verdict // how a token was taken
	renewing  bool         // of the reader alone
	renewDone chan struct{}
	ctx       context.Context
	cancel    context.CancelFunc
	group     sync.WaitGroup
}

// verdict is how a token was taken; nil: it was.
type verdict struct{ err error }

func (c *Client) connect(ctx context.Context, u *url.URL, why Why, buffer int) (*conn, error) {
	ws, err := c.dial(ctx, u, why)
	if err != nil {
		return nil, err
	}
	x := &conn{
		client: c, ws: ws, frames: make(chan *frame, buffer), renewed: make(chan verdict, 1), renewDone: make(chan struct{}, 1),
		after: orDefault(c.Heartbeat.After, 25*time.Second), timeout: orDefault(c.Heartbeat.Timeout, 10*time.Second),
	}
	x.ctx, x.cancel = context.WithCancel(ctx)
	x.ping = time.AfterFunc(x.after, func() { x.control(websocket.PingMessage, nil) })
	pong := func(text string) { x.control(websocket.PongMessage, []byte(text)) }
	ws.SetPingHandler(func(text string) error { x.heard(); pong(text); return nil })
	ws.SetPongHandler(func(string) error { x.heard(); return nil })
	ws.SetCloseHandler(func(int, string) error { return nil }) // there is nothing to add to a goodbye
	x.group.Go(x.read)
	return x, nil
}

// close says goodbye, and ends everything.
func (x *conn) close() {
	x.cancel()
	x.control(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	_ = x.ws.Close()
	x.group.Wait()
	x.ping.Stop()
}

// control writes a control frame, if that can be done soon. What it cannot shows when something is read.
func (x *conn) control(kind int, text []byte) {
	_ = x.ws.WriteControl(kind, text, time.Now().Add(time.Second))
}

// heard puts off the moment at which the service is taken for gone.
func (x *conn) heard() {
	x.ping.Reset(x.after)
	_ = x.ws.SetReadDeadline(time.Now().Add(x.after + x.timeout))
}

// read reads until the connection ends.
func (x *conn) read() {
	defer close(x.frames)
	for {
		x.heard()
		_, text, err := x.ws.ReadMessage()
		if err != nil {
			x.err = x.explain(err)
			return
		}
		f, err := parseFrame(text)
		if err != nil {
			x.err = &Error{Code: CodeNotTidings, Message: fmt.Sprintf("%s says what is not the protocol's: is it tidings?", x.client.URL)}
			return
		}
		if !x.ofToken(f) && !x.pass(f) {
			x.err = context.Cause(x.ctx)
			return
		}
	}
}

func (x *conn) explain(err error) error {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		return &Goodbye{Code: closed.Code, Reason: closed.Text}
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("the connection is dead: nothing was heard for %s", x.after+x.timeout)
	}
	return fmt.Errorf("the connection broke: %w", err)
}

// pass gives a frame to the loop. While that is busy, the service is told that we are there: it hears no pongs.
func (x *conn) pass(f *frame) bool {
	select {
	case x.frames <- f:
		return true
	default:
	}
	tick := time.NewTicker(x.after / 2)
	defer tick.Stop()
	for {
		select {
		case x.frames <- f:
			return true
		case <-x.ctx.Done():
			return false
		case <-tick.C:
			x.control(websocket.PongMessage, nil)
		}
	}
}

// ofToken takes the frames that concern the token.
func (x *conn) ofToken(f *frame) bool {
	switch {
	case f.Type == "token_expiring":
		select {
		case <-x.renewDone:
			x.renewing = false
		default:
		}
		if !x.renewing && x.client.Token != nil {
			x.renewing = true
			x.group.Go(x.renew)
		}
	case f.Type == "authenticated":
		x.answer(nil)
	case f.Type == "error" && f.Channel == "" && x.renewing:
		x.answer(&Error{Code: f.Code, Message: f.Message})
	default:
		return false
	}
	return true
}

func (x *conn) answer(err error) {
	select {
	case x.renewed <- verdict{err}:
	default: // nobody has asked
	}
}

// renew sends another token in place of one that runs out. Where there is none, the connection ends with the old one, and another is
// asked for then.
func (x *conn) renew() {
	defer func() { x.renewDone <- struct{}{} }()
	why := Expiring
	for attempt := 0; x.ctx.Err() == nil; attempt++ {
		token, err := x.client.token(x.ctx, why)
		if err == nil {
			err = x.authenticate(token)
		}
		switch {
		case err == nil:
			x.client.log().Debug("the token was renewed")
			return
		case errors.Is(err, ErrGiveUp):
			return
		}
		x.client.log().Warn("the token is not renewed", "error", err)
		if wantsToken(err) {
			why = Rejected
		}
		timer := time.NewTimer(x.client.Backoff.wait(attempt))
		select {
		case <-timer.C:
		case <-x.ctx.Done():
			timer.Stop()
		}
	}
}

// authenticate sends a token, and returns how it was taken. Nothing else is ever sent, so it needs no lock.
func (x *conn) authenticate(token string) error {
	select {
	case <-x.renewed: // of before
	default:
	}
	_ = x.ws.SetWriteDeadline(time.Now().Add(x.timeout))
	if err := x.ws.WriteJSON(map[string]string{"type": "authenticate", "token": token}); err != nil {
		return err
	}
	select {
	case v := <-x.renewed:
		return v.err
	case <-x.ctx.Done():
		return context.Cause(x.ctx)
	}
}
