package http_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"tidings/docs"
)

// asyncAPI is docs/asyncapi.yaml.
type asyncAPI struct {
	Channels   map[string]*asyncChannel
	Operations map[string]struct {
		Action   string
		Channel  reference
		Messages []reference
		Reply    struct{ Messages []reference }
	}
	Goodbyes []struct {
		Code             int
		Reason, ComeBack string
	} `json:"x-goodbyes"`
	Components struct {
		Messages map[string]*asyncMessage
		Schemas  map[string]struct {
			Enum         []string
			Descriptions map[string]string `json:"x-enumDescriptions"`
			Properties   map[string]any
		}
	}

	tree any // all of it
}

type asyncChannel struct {
	Address  string
	Messages map[string]reference

	said, heard map[string]*asyncMessage // by the server, by their names in the channel
}

type asyncMessage struct {
	Name     string
	Payload  json.RawMessage
	Examples []struct{ Payload json.RawMessage }

	schema *jsonschema.Schema
}

type reference struct {
	To string `json:"$ref"`
}

// last is the last part of where a reference leads to.
func (r reference) last() string { return r.To[strings.LastIndexByte(r.To, '/')+1:] }

// readAsyncAPI reads the document, once.
var readAsyncAPI = sync.OnceValues(func() (*asyncAPI, error) {
	text, err := yaml.YAMLToJSON(docs.AsyncAPI)
	if err != nil {
		return nil, err
	}
	a := new(asyncAPI)
	if err := json.Unmarshal(text, a); err != nil {
		return nil, err
	}
	if a.tree, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.AssertFormat()
	if err := compiler.AddResource("asyncapi.json", a.tree); err != nil {
		return nil, err
	}
	for name, m := range a.Components.Messages {
		if m.schema, err = compiler.Compile("asyncapi.json#/components/messages/" + name + "/payload"); err != nil {
			return nil, err
		}
	}
	for _, c := range a.Channels {
		c.said, c.heard = make(map[string]*asyncMessage), make(map[string]*asyncMessage)
	}
	for name, o := range a.Operations {
		c := a.Channels[o.Channel.last()]
		if c == nil {
			return nil, fmt.Errorf("operation %s has no channel", name)
		}
		if o.Messages == nil { // all of the channel's
			for m := range c.Messages {
				o.Messages = append(o.Messages, reference{"/" + m})
			}
		}
		for _, m := range o.Messages {
			messages := c.heard
			if o.Action == "send" {
				messages = c.said
			}
			if messages[m.last()] = a.Components.Messages[c.Messages[m.last()].last()]; messages[m.last()] == nil {
				return nil, fmt.Errorf("operation %s has no message %s", name, m.last())
			}
		}
	}
	return a, nil
})

func asyncAPIDocument(t testing.TB) *asyncAPI {
	t.Helper()
	a, err := readAsyncAPI()
	if err != nil {
		t.Fatalf("docs/asyncapi.yaml: %v", err)
	}
	return a
}

// which finds out which of the messages a frame is: exactly one.
func which(messages map[string]*asyncMessage, frame string) (string, error) {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(frame))
	if err != nil {
		return "", err
	}
	var is []string
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(messages)) {
		if err := messages[name].schema.Validate(value); err == nil {
			is = append(is, name)
		} else {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	switch len(is) {
	case 1:
		return is[0], nil
	case 0:
		return "", fmt.Errorf("it is none of the messages: %w", errors.Join(problems...))
	}
	return "", fmt.Errorf("it is each of %q", is)
}

// The document is one of AsyncAPI 3.0, by the standard's own schema, and nothing in it leads nowhere.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	if _, err := findNode(); err != nil { // with what npm has installed
		t.Fatal(err)
	}
	text, err := os.ReadFile(npmDirectory + "/node_modules/@asyncapi/specs/schemas/3.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	standard, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("standard.json", standard); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("standard.json")
	if err != nil {
		t.Fatal(err)
	}
	a := asyncAPIDocument(t)
	if err := schema.Validate(a.tree); err != nil {
		t.Errorf("%v", err)
	}

	// What is there is also referred to.
	used := make(map[string]bool)
	var walk func(at string, node any)
	walk = func(at string, node any) {
		switch node := node.(type) {
		case map[string]any:
			if to, is := node["$ref"].(string); is {
				used[to] = true
				if len(node) > 1 {
					t.Errorf("%s: what stands beside a $ref is not looked at", at)
				}
				found := a.tree
				for _, part := range strings.Split(strings.TrimPrefix(to, "#/"), "/") {
					object, _ := found.(map[string]any)
					found = object[part]
				}
				if found == nil {
					t.Errorf("%s: there is no %s", at, to)
				}
			}
			for name, child := range node {
				walk(at+"/"+name, child)
			}
		case []any:
			for i, child := range node {
				walk(fmt.Sprint(at, "/", i), child)
			}
		}
	}
	walk("#", a.tree)
	components := a.tree.(map[string]any)["components"].(map[string]any)
	for kind, all := range components {
		for name := range all.(map[string]any) {
			if at := "#/components/" + kind + "/" + name; !used[at] {
				t.Errorf("nothing refers to %s", at)
			}
		}
	}
	for name, s := range a.Components.Schemas {
		if d := slices.Sorted(maps.Keys(s.Descriptions)); s.Enum != nil && !slices.Equal(d, slices.Sorted(slices.Values(s.Enum))) {
			t.Errorf("described of %s are %q, and not %q", name, d, s.Enum)
		}
	}
}

// Each example is what it is an example of, and nothing else.
func TestAsyncAPIExamples(t *testing.T) {
	t.Parallel()
	a := asyncAPIDocument(t)
	for name, c := range a.Channels {
		for _, messages := range []map[string]*asyncMessage{c.said, c.heard} {
			for of, m := range messages {
				if len(m.Examples) == 0 {
					t.Errorf("%s, %s: there is no example", name, of)
				}
				for _, e := range m.Examples {
					if is, err := which(messages, string(e.Payload)); err != nil || is != of {
						t.Errorf("%s, %s: the example %s is %q: %v", name, of, e.Payload, is, err)
					}
				}
			}
		}
	}
}

// The envelope is /ws but for the name of the first field.
func TestAsyncAPIEnvelope(t *testing.T) {
	t.Parallel()
	a := asyncAPIDocument(t)
	ws, envelope := a.Channels["ws"], a.Channels["envelope"]
	if got, want := slices.Sorted(maps.Keys(envelope.said)), slices.Sorted(maps.Keys(ws.said)); !slices.Equal(got, want) {
		t.Errorf("in the envelope there are %q, want %q", got, want)
	}
	for name, m := range ws.said {
		type payload struct {
			Type, AdditionalProperties, AllOf any
			Required                          []string
			Properties                        map[string]any
		}
		var want, got payload
		if err := errors.Join(json.Unmarshal(m.Payload, &want), json.Unmarshal(envelope.said[name].Payload, &got)); err != nil {
			t.Fatal(err)
		}
		want.Properties["event"] = want.Properties["type"]
		delete(want.Properties, "type")
		want.Required[slices.Index(want.Required, "type")] = "event"
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: in the envelope there is\n%v, want\n%v", name, got, want)
		}
	}
	if !reflect.DeepEqual(envelope.heard, ws.heard) {
		t.Error("the commands are not the same")
	}
}
