package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadRowsTakesWhatIsHere(t *testing.T) {
	var told []byte
	for _, id := range []int64{7, 8, 9} {
		told = appendRow(told, id)
	}
	told = appendSample(told, []byte("{}"))
	told = appendRow(told, 10)
	in := bufio.NewReader(bytes.NewReader(told))
	if got, err := readRows(in, nil); err != nil || !slices.Equal(got, []int64{7, 8, 9}) {
		t.Errorf("got %v, %v, want the rows before the sample", got, err)
	}
	if what, err := in.ReadByte(); err != nil || what != tellSample {
		t.Errorf("behind the rows is %q, %v, want the sample", what, err)
	}
}

func TestReadRowsWaitsForAWholeOne(t *testing.T) {
	// A byte at a time: nothing more is here when the first is whole.
	in := bufio.NewReaderSize(oneByOne{bytes.NewReader(appendRow(appendRow(nil, 1), 2))}, 16)
	for want := range int64(2) {
		if got, err := readRows(in, nil); err != nil || !slices.Equal(got, []int64{want + 1}) {
			t.Errorf("got %v, %v, want row %d alone", got, err, want+1)
		}
	}
	if _, err := readRows(in, nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

type oneByOne struct{ io.Reader }

func (r oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

// TestBareLoop has it serve real clients, of which each gets every row.
func TestBareLoop(t *testing.T) {
	in, tell := io.Pipe()
	heard, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- runBareLoop(t.Context(), in, out) }()
	address, err := bufio.NewReader(heard).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	crowd, err := connect(t.Context(), "ws://"+strings.TrimSpace(address)+"/", 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer crowd.close()

	// Longer than what a frame of the shortest form holds.
	event := `{"type":"bench_added","channel":"bench:1000001","data":{"id":1000001,"content":"` + strings.Repeat("x", 200) + `"}}`
	told := appendSample(nil, []byte(event))
	for id := range int64(100) {
		told = appendRow(told, latencyFirstID+id)
	}
	if _, err := tell.Write(told); err != nil {
		t.Fatal(err)
	}
	got, err := crowd.await(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	if got.deliveries != 500 || got.lost != 0 || got.doubled != 0 || len(crowd.strange) != 0 {
		t.Errorf("got %+v, %v, want 500 deliveries", got, crowd.strange)
	}
	crowd.close()
	if err := tell.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestFrameOf(t *testing.T) {
	for n, want := range map[int][]byte{
		0:     {0x81, 0},
		125:   {0x81, 125},
		126:   {0x81, 126, 0, 126},
		65535: {0x81, 126, 255, 255},
		65536: {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		frame := frameOf(make([]byte, n))
		if got := frame[:len(frame)-n]; !bytes.Equal(got, want) {
			t.Errorf("before %d bytes stands %v, want %v", n, got, want)
		}
	}
}
