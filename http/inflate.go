package http

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// errCorrupt says that a compressed message is none.
var errCorrupt = errors.New("a compressed message cannot be inflated")

// lastBlock is an empty block that ends what is compressed. A message has none.
const lastBlock = "\x01\x00\x00\xff\xff"

// inflater is a decompressor. It takes 40 KB, and belongs to a connection only while a message is inflated.
type inflater struct {
	in  bytes.Reader
	out io.ReadCloser
}

var inflaters = sync.Pool{New: func() any {
	i := new(inflater)
	i.out = flate.NewReader(&i.in)
	return i
}}

// inflate returns what was compressed. Of a message that has more than limit bytes no more is inflated: how much more there is may
// be a thousand times what was sent.
func inflate(message []byte, limit int) ([]byte, error) {
	i := inflaters.Get().(*inflater)
	defer inflaters.Put(i)
	i.in.Reset(append(message, flushed+lastBlock...))
	_ = i.out.(flate.Resetter).Reset(&i.in, nil) // it has nothing to fail at
	text, err := io.ReadAll(io.LimitReader(i.out, int64(limit)+1))
	i.in.Reset(nil)
	switch {
	case err != nil:
		return nil, errCorrupt
	case len(text) > limit:
		return nil, errFarTooLarge
	}
	return text, nil
}
