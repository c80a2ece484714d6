package realtime

// Item is what a subscriber's transport is to write next: events, or a notice.
type Item struct {
	Run    *Run
	Notice *Notice
	Of     *Subscriber // whose it is
	Told   int         // how much of it has been written: the transport's own
	live   bool        // it was queued as it was published
}

// Notice is something said to one subscriber.
type Notice struct {
	Kind    NoticeKind
	Channel Channel
	Cursor  Cursor // of NoticeSubscribed and NoticeCursor: what comes from here on will be told; of NoticeLoaded: the rows' state
	Rows    int    // of NoticeLoaded
	Reason  Reset  // of NoticeReset
	Err     *Error // of NoticeError

	Type string // of NoticeSignal
	Data []byte // of NoticeSignal: JSON
}

// NoticeKind is what a notice says.
type NoticeKind int

// The kinds.
const (
	NoticeSubscribed NoticeKind = iota
	NoticeUnsubscribed
	NoticeReset
	NoticeError
	NoticePong   // the answer to a ping: all before it was written
	NoticeLoaded // the rows of a channel have been told
	NoticeCursor // nothing has happened for a while, up to here
	NoticeSignal // something that is kept nowhere
)
