// Package tidings follows a tidings service: the rows of channels, and every change of them as it is committed.
//
//	client := &tidings.Client{URL: "https://live.example.com"}
//	for m, err := range client.Follow(ctx, tidings.Options{Channels: []string{"orders:42"}}) {
//		if err != nil {
//			return err // ctx ended, or coming back makes no sense
//		}
//		if m.Kind == tidings.Event {
//			fmt.Println(m.Type, string(m.Data))
//		}
//	}
//
// # What it promises
//
// Order. Messages come in the order of the service: the events of one transaction as they were written in it, and if B was written after A
// was committed, B comes after A, also across the channels of one Follow.
//
// Delivery. Each event is yielded exactly once by a Follow, however often its connection breaks and whichever instance of the service it
// comes back to: it keeps the last cursor and goes on there. Where that cannot be served any more, a message of kind [Reset] says so: events
// may be missing, and what is known of the channel is to be loaded afresh. With [Options.Rows] that follows by itself. Across restarts of
// the program, keep [Message.Cursor] with what was made of the message and begin with it as [Options.Since].
//
// Lifecycle. A Follow is one connection. It is opened when the iteration begins and closed when it ends; nothing goes on afterwards, no
// goroutine and no timer. An iteration ends when the loop is left, or with an error, which is the last thing it yields: the cause of ctx's
// end, an [*Error] or a [*Goodbye] that says that coming back makes no sense, or the error of [Client.Token] that wraps [ErrGiveUp]. All
// other breaks are waited out, with a pause that grows and has chance in it; [Options.OnState] tells of them. A service that stops, and says
// so, is left for another instance within a moment, and that counts as no failure.
//
// Concurrency. A [Client] may be used by many goroutines at the same time. Each iteration belongs to one, and everything that it calls back
// is called in that goroutine, but for [Client.Token]. A loop that takes its time holds up nobody but itself: the service keeps
// what waits for it, and the connection is kept alive meanwhile.
//
// Memory. At most [Options.Buffer] messages wait for the loop. The rows of a channel are one message, so they are in memory together.
//
// # Load, then follow
//
// With [Options.Rows], a message of kind [Rows] comes before each channel's events, with all rows that the channel has: it replaces what was
// known of it. Up to about a megabyte the service sends them at one and the same moment as the events go on from, so there is no gap and no
// overlap. More are loaded page by page, at moments of their own; then some of the events that follow tell of what the rows contain already,
// and applied by primary key they come to the same. [Table] does that:
//
//	orders := tidings.Table[int64, Order]{Channel: "orders", Key: func(o Order) int64 { return o.ID }}
//	for m, err := range client.Follow(ctx, tidings.Options{Channels: []string{"orders"}, Rows: true}) {
//		if err != nil {
//			return err
//		}
//		if err := orders.Apply(m); err != nil {
//			return err
//		}
//	}
//
// # Who the client is
//
// [Client.Token] is asked for a token whenever a connection is opened, when the token that was given is about to run out, and when one was
// not taken. A token that is renewed in time does not interrupt anything. All of them are to be of one user: what a Follow has told of another's
// rows is not taken back.
//
// The package needs github.com/gorilla/websocket and the standard library, and nothing else of tidings: it may be copied.
package tidings
