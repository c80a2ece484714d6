package http_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"tidings/docs"
)

// The parameters in the document are those that there are.
func TestAsyncAPIParameters(t *testing.T) {
	t.Parallel()
	a := asyncAPIDocument(t)
	s := start(t, newDatabase(t).url, options{secret: secret})
	if got := s.get("/asyncapi.yaml"); got.status != http.StatusOK || got.body != string(docs.AsyncAPI) {
		t.Errorf("/asyncapi.yaml is answered with %d, %.100s", got.status, got.body)
	}
	values := map[string]string{"channel": "messages", "since": "nonsense", "snapshot": "true", "token": token(t, "1", time.Hour)}
	for channel, at := range map[string][]string{
		"ws": {"channels", "ws", "bindings", "ws"}, "envelope": {"channels", "envelope", "bindings", "ws"}, "events": {"operations", "events.tell", "bindings", "http"},
	} {
		node := a.tree
		for _, name := range append(at, "query", "properties") {
			node = node.(map[string]any)[name]
		}
		parameters := node.(map[string]any)
		if len(parameters) != len(values) {
			t.Errorf("%s has the parameters %v", channel, parameters)
		}
		for name := range parameters {
			l := s.listen(new(sightings), channel, channels([]string{"messages"}, name, values[name]))
			for label := ""; label != "subscribed"; {
				var err error
				if label, err = l.next(); err != nil || strings.HasSuffix(label, "bad_request") {
					t.Fatalf("%s: the parameter %s is answered with %q, %v", channel, name, label, err)
				}
			}
		}
	}
}

// What is said in the document's examples is done, and what is no command there is none.
func TestAsyncAPICommands(t *testing.T) {
	t.Parallel()
	a := asyncAPIDocument(t)
	heard := a.Channels["ws"].heard
	s := start(t, newDatabase(t).url, options{secret: secret})
	answered := func(command string) string {
		t.Helper()
		c := s.dialAs(token(t, "1", time.Hour))
		c.send(command)
		c.send(`{"type":"unsubscribe","channel":"the end"}`)
		answers := ""
		for {
			f := c.next()
			if f.Channel == "the end" {
				return answers
			}
			answers += " " + strings.TrimSpace(f.Type+" "+f.Code)
		}
	}
	fine := strings.NewReplacer("error not_subscribed", "", "error unauthenticated", "") // nothing else is wrong with what they say
	names := make([]string, 0, len(heard))
	for name, m := range heard {
		names = append(names, strings.ToLower(strings.TrimPrefix(name, "say")))
		for _, e := range m.Examples {
			if answers := answered(string(e.Payload)); strings.Contains(fine.Replace(answers), "error") {
				t.Errorf("%s is answered with%s", e.Payload, answers)
			}
			// With one field more, or one that is another's, it is none.
			for _, more := range []string{`"more":1`, `"Channel":"messages"`, `"token":1`, `"snapshot":"true"`, `"channels":[]`} {
				text := strings.TrimSuffix(strings.TrimSpace(string(e.Payload)), "}") + "," + more + "}"
				_, err := which(heard, text)
				if answers := answered(text); err == nil || !strings.Contains(answers, "error bad_json") && !strings.Contains(answers, "error bad_channel") {
					t.Errorf("%s is one in the document: %t; answered with%s", text, err == nil, answers)
				}
			}
		}
	}
	for _, name := range names {
		c := s.dialQuery("")
		c.send(fmt.Sprintf(`{"type":%q}`, "not "+name))
		f := c.expectError("unknown_command")
		if _, list, _ := strings.Cut(f.Message, ": it is "); !strings.Contains(list, name) || strings.Count(list, ",") != len(names)-2 {
			t.Errorf("the commands are %s, and the document has %q", list, names)
		}
	}
	for _, text := range []string{
		`{}`, `[]`, `null`, `{"type":"publish"}`, `{"type":"subscribe"}`, `{"type":"subscribe","channel":"a:"}`, `{"type":"subscribe","channel":":a"}`,
		`{"type":"subscribe","channel":"a","channels":["b"]}`, `{"type":"subscribe","channels":[""]}`, `{"type":"subscribe","channels":"a"}`,
		`{"type":"subscribe","channel":"a\u0007"}`, `{"type":"unsubscribe","channel":"a","since":"x"}`, `{"type":"switch","channels":["a"]}`,
		`{"type":"authenticate"}`, `{"type":"authenticate","token":""}`, `{"type":"typing"}`, `{"type":"ping","channel":"a"}`, `{"channel":"a"}`,
	} {
		_, err := which(heard, text)
		if answers := answered(text); err == nil || !strings.Contains(answers, "error") {
			t.Errorf("%s is one in the document: %t; answered with%s", text, err == nil, answers)
		}
	}
}

// What the documentation shows of the protocol is so.
func TestAsyncAPIDocumentation(t *testing.T) {
	t.Parallel()
	a := asyncAPIDocument(t)
	frames := regexp.MustCompile("(?m)^(\\{\"(?:type|event)\":.*)$|`(\\{\"(?:type|event)\":[^`…]*\\})`")
	for file, atLeast := range map[string]int{"docs/protocol.md": 20, "docs/presence.md": 2, "docs/permissions.md": 2, "README.md": 1} {
		text, err := os.ReadFile("../" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := frames.FindAllStringSubmatch(string(text), -1)
		for _, match := range found {
			frame := match[1] + match[2]
			ws, envelope, events := a.Channels["ws"], a.Channels["envelope"], a.Channels["events"]
			is := ""
			for _, messages := range []map[string]*asyncMessage{ws.said, ws.heard, envelope.said, events.said} {
				name, err := which(messages, frame)
				if err == nil {
					is = name
				}
			}
			if is == "" {
				_, err := which(ws.said, frame)
				t.Errorf("%s: %s is no message: %v", file, frame, err)
			}
		}
		if len(found) < atLeast {
			t.Errorf("%s has %d frames", file, len(found))
		}
	}
}
