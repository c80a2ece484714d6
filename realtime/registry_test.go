package realtime_test

import (
	"fmt"
	"slices"
	"testing"

	"tidings/realtime"
)

// The largest channels are told of, and whether there are others; each can be asked about.
func TestLargestChannels(t *testing.T) {
	t.Parallel()
	w := quiet()
	f := w.instance(realtime.Options{})
	for i := range 60 {
		for range 1 + i/20 {
			w.client(t, f, realtime.Channel{Topic: "messages", Key: fmt.Sprint(i)})
		}
	}
	for range 5 {
		w.client(t, f, realtime.Channel{Topic: "comments"})
	}
	largest, all := f.hub.Channels(3)
	expect(t, "are they all", all, false)
	if got := fmt.Sprint(largest[0]); got != "{comments 5}" || len(largest) != 3 {
		t.Errorf("the largest are %v", largest)
	}
	for _, c := range largest[1:] {
		if c.Subscribers != 3 {
			t.Errorf("the largest are %v", largest)
		}
	}
	largest, all = f.hub.Channels(100)
	expect(t, "are they all", all, true)
	expect(t, "channels", len(largest), 61)
	if !slices.IsSortedFunc(largest, func(a, b realtime.ChannelCount) int { return b.Subscribers - a.Subscribers }) {
		t.Errorf("they are not in order: %v", largest)
	}
	for channel, want := range map[realtime.Channel]int{{Topic: "comments"}: 5, {Topic: "messages", Key: "45"}: 3, {Topic: "messages"}: 0, {Topic: "x", Key: "y"}: 0} {
		expect(t, channel.String(), f.hub.ChannelSubscribers(channel), want)
	}
}
