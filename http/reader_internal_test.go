package http

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"
)

// maskedClientFrame is a frame as clients send it.
func maskedClientFrame(first byte, mask [4]byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

func TestReadClientFrame(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 5, 57, 58, 59, 125, 126, 127, 65_535, 65_536, 200_000} {
		payload := bytes.Repeat([]byte("tidings!?"), size/9+1)[:size]
		text := maskedClientFrame(0x80|opClientText, [4]byte{1, 0x80, 0, 0xFF}, payload)
		two := append(bytes.Clone(text), text...)
		r := bufio.NewReaderSize(bytes.NewReader(two), readBuffer)
		for range 2 {
			f, err := readClientFrame(r)
			if err != nil || !f.fin || f.op != opClientText || f.size != uint64(size) {
				t.Fatalf("%d bytes: got %+v, %v", size, f, err)
			}
			if got, err := f.readPayload(r, []byte("before ")); err != nil || string(got) != "before "+string(payload) {
				t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
			}
		}
		// Whatever is cut off is an error, and not a frame.
		for _, n := range []int{1, 2, 5, len(text) - 1} {
			r := bufio.NewReaderSize(bytes.NewReader(text[:min(n, len(text)-1)]), readBuffer)
			f, err := readClientFrame(r)
			if err == nil {
				_, err = f.readPayload(r, nil)
			}
			if err == nil {
				t.Errorf("the first %d of %d bytes are a frame", n, len(text))
			}
		}
	}
}

// No header has it panic, and none that is taken breaks the protocol.
func FuzzReadClientFrame(f *testing.F) {
	f.Add(maskedClientFrame(0x80|opClientPong, [4]byte{1, 2, 3, 4}, nil))
	f.Add(maskedClientFrame(0x80|opClientClose, [4]byte{1, 2, 3, 4}, []byte("\x03\xe8bye")))
	f.Add(maskedClientFrame(opClientText, [4]byte{}, make([]byte, 126)))
	f.Add([]byte{0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := readClientFrame(bufio.NewReaderSize(bytes.NewReader(b), readBuffer))
		if err != nil {
			return
		}
		if b[0]&0x70 != 0 || b[1]&0x80 == 0 || frame.size>>63 != 0 || frame.op >= 8 && (!frame.fin || frame.size > maxPayload) {
			t.Errorf("%x is taken as %+v", b, frame)
		}
	})
}

func TestValidClose(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]bool{
		"": true, "\x03": false, "\x03\xe8": true, "\x03\xe8bye": true, "\x03\xe8\xff": false, "\x03\xec": false, "\x03\xed": false, "\x03\xee": false,
		"\x03\xf7": false, "\x0b\xb7": false, "\x0b\xb8": true, "\x13\x87": true, "\x13\x88": false, "\x00\x00": false,
	} {
		if got := validClose([]byte(payload)); got != want {
			t.Errorf("close %x: got %t, want %t", payload, got, want)
		}
	}
}
