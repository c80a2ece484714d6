package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args, scrubbed, env string // separated by spaces; env besides X=1 and TIDINGS_SECRET=old
	}{
		{"serve", "serve", ""},
		{"serve --listen :80", "serve --listen :80", ""},
		{"serve --secret new", "serve", "TIDINGS_SECRET=new"},
		{"serve --secret=new --listen :80", "serve --listen :80", "TIDINGS_SECRET=new"},
		{"serve --secret=new --secret newer", "serve", "TIDINGS_SECRET=newer"},
		{"--jwt-secret=a=b serve", "serve", "TIDINGS_JWT_SECRET=a=b"},
		{"serve --secret-file f --jwt-secret-file f", "serve --secret-file f --jwt-secret-file f", ""},
		{"serve --secret", "serve --secret", ""},
		{"serve --secret=", "serve --secret=", ""},
		{"watch t -- --secret new", "watch t -- --secret new", ""},
		{"watched --database-url postgres://ada@h/d", "watched --database-url postgres://ada@h/d", ""},
		{"watched --database-url postgres://h/d?sslmode=disable", "watched --database-url postgres://h/d?sslmode=disable", ""},
		{"watched --database-url postgres://ada:x@h/d", "watched", "DATABASE_URL=postgres://ada:x@h/d"},
		{"--database-url=postgresql://h/d?sslPassword=x watched", "watched", "DATABASE_URL=postgresql://h/d?sslPassword=x"},
		{"watched --database-url host=h;password=x", "watched", "DATABASE_URL=host=h;password=x"},
		{"watched --database-url postgres://ada:x%zz@h/d", "watched", "DATABASE_URL=postgres://ada:x%zz@h/d"},
	} {
		environ := []string{"X=1", "TIDINGS_SECRET=old"}
		args, env, found := withoutSecrets(strings.Fields(c.args), environ)
		if got := strings.Join(args, " "); got != c.scrubbed || found != (c.env != "") {
			t.Errorf("%s: got %s, %t", c.args, got, found)
		}
		want := environ
		if c.env != "" {
			name, _, _ := strings.Cut(c.env, "=")
			want = append(withoutVariable(environ, name), c.env)
		}
		if !slices.Equal(env, want) {
			t.Errorf("%s: got the environment %q, want %q", c.args, env, want)
		}
	}
}

// A flag that sounds like a secret is treated as one.
func TestSecretsAreKnown(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.Vars{"default_data_dir": "DIR"})
	if err != nil {
		t.Fatal(err)
	}
	flags := parser.Model.Flags
	for _, command := range parser.Model.Leaves(false) {
		flags = append(flags, command.Flags...)
	}
	envs := make(map[string]string)
	for _, flag := range flags {
		if len(flag.Envs) > 0 {
			envs[flag.Name] = flag.Envs[0]
		}
		sounds := slices.ContainsFunc([]string{"secret", "password", "token"}, func(word string) bool { return strings.Contains(flag.Name, word) })
		known := slices.ContainsFunc(secretFlags, func(f secretFlag) bool { return f.name == flag.Name })
		if sounds && !known && flag.Target.Kind().String() == "string" && !strings.HasSuffix(flag.Name, "-file") {
			t.Errorf("--%s is none of secretFlags", flag.Name)
		}
	}
	for _, flag := range secretFlags {
		if envs[flag.name] != flag.env {
			t.Errorf("--%s: its variable is %s, not %s", flag.name, envs[flag.name], flag.env)
		}
		if envs[flag.name+"-file"] != flag.env+"_FILE" {
			t.Errorf("--%s-file: its variable is %q", flag.name, envs[flag.name+"-file"])
		}
	}
}
