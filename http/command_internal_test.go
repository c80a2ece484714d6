package http

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/realtime"
)

// FuzzParseCommand: whatever a client says is either a command as it stands there, or a mistake that is said by name.
func FuzzParseCommand(f *testing.F) {
	for _, text := range []string{
		`{"type":"subscribe","channel":"messages"}`, `{"type":"subscribe","channel":"comments:1","since":"745-745"}`,
		`{"type":"unsubscribe","channel":"messages:a:b"}`, `{"type":"switch","channel":"Ж"}`, `{"type":"ping"}`,
		` {"type" : "ping"} `, `{"type":"ping","channel":":"}`, `{"Type":"ping"}`, ``, `{`, `{}`, `[]`, `null`, `"x"`, `1`, `true`, `{"type":1}`,
		`{"type":"subscribe","channel":""}`, `{"type":"subscribe","channel":":"}`, `{"type":"subscribe","channel":"a:"}`,
		`{"type":"subscribe","channel":"a\u0000"}`, `{"type":"subscribe","channel":"\ud800"}`, `{"type":"x"}`, `{"more":1}`,
		`{"type":"ping"}{}`, `{"type":"ping"}]`, "\xff", `{"type":"` + strings.Repeat("x", 1000) + `"}`,
		`{"type":"typing","channel":"comments:1"}`, `{"type":"authenticate","token":"x"}`,
		`{"type":"subscribe","channels":["messages","comments:1"],"since":"745-745","snapshot":true}`, `{"type":"subscribe","channels":["a","a"]}`,
		`{"type":"subscribe","channels":[]}`, `{"type":"subscribe","channels":null,"channel":"a"}`, `{"type":"subscribe","channels":["a"],"channel":"b"}`,
		`{"type":"subscribe","channels":["a",":"]}`, `{"type":"subscribe","channels":[null]}`, `{"type":"subscribe","channels":[1]}`,
		`{"type":"subscribe","channels":"a"}`, `{"type":"switch","channels":["a"]}`, `{"type":"ping","channels":[]}`,
		`{"type":"ping","type":"subscribe"}`, `{"type":{"type":"ping"}}`, strings.Repeat(`[`, 20_000), strings.Repeat(`{"type":`, 5_000),
	} {
		f.Add([]byte(text))
	}
	codes := []realtime.Code{codeBadFrame, codeBadJSON, codeUnknownCommand, realtime.CodeBadChannel}
	f.Fuzz(func(t *testing.T, text []byte) {
		cmd, channels, bad := parseCommand(text)
		if bad != nil {
			if !slices.Contains(codes, bad.Code) || bad.Message == "" || !utf8.ValidString(bad.Message) {
				t.Errorf("the mistake is %+v", bad)
			}
			notice := appendNotice(nil, "type", &realtime.Notice{Kind: realtime.NoticeError, Err: bad})
			if !json.Valid(notice) {
				t.Errorf("the answer is not JSON: %s", notice)
			}
			return
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil || object == nil {
			t.Fatalf("%q is taken for a command: %v", text, err)
		}
		var names []string
		for i, channel := range channels {
			if again, err := realtime.ParseChannel(channel.String()); err != nil || again != channel || slices.Contains(channels[:i], channel) {
				t.Errorf("a channel is read as %+v among %+v: %v", channel, channels, err)
			}
			names = append(names, channel.String())
		}
		switch cmd.Type {
		case "ping", "authenticate":
			if len(names) > 0 || cmd.Channels != nil {
				t.Errorf("the command %q names channels: %+v", cmd.Type, cmd)
			}
		case "subscribe":
			slices.Sort(cmd.Channels)
			slices.Sort(names)
			if !slices.Equal(names, slices.Compact(cmd.Channels)) && !slices.Equal(names, []string{cmd.Channel}) ||
				(cmd.Channel != "") == (cmd.Channels != nil) {
				t.Errorf("the channels %q are read of %+v", names, cmd)
			}
		case "unsubscribe", "switch", "typing":
			if !slices.Equal(names, []string{cmd.Channel}) || cmd.Channels != nil {
				t.Errorf("the channels %q are read of %+v", names, cmd)
			}
		default:
			t.Errorf("the command is %q", cmd.Type)
		}
	})
}
