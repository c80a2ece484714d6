package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// secretFlag is a flag whose value nobody else is to see.
type secretFlag struct {
	name, env string
	secret    func(value string) bool // whether a value is one
}

var secretFlags = []secretFlag{
	{"database-url", "DATABASE_URL", hasPassword},
	{"direct-database-url", "DIRECT_DATABASE_URL", hasPassword},
	{"redis-url", "TIDINGS_REDIS_URL", isGiven},
	{"jwt-secret", "TIDINGS_JWT_SECRET", isGiven},
	{"secret", "TIDINGS_SECRET", isGiven},
	{"token", "TIDINGS_TOKEN", isGiven},
}

func isGiven(value string) bool { return value != "" }

// hasPassword reports whether there may be a password in a database's address.
func hasPassword(value string) bool {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return value != ""
	}
	_, given := u.User.Password()
	return given || strings.Contains(strings.ToLower(u.RawQuery), "password")
}

// withoutSecrets moves secrets from the arguments to the environment. The arguments of a process are there to be read for all users of the
// machine, as long as it runs; its environment is for its own user alone. It reports whether there were any.
func withoutSecrets(args, environ []string) (scrubbed, env []string, found bool) {
	env = environ
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			scrubbed = append(scrubbed, args[i:]...)
			break
		}
		flag, value, words := secretAt(args[i:])
		if flag == nil {
			scrubbed = append(scrubbed, args[i])
			continue
		}
		found = true
		env = append(withoutVariable(env, flag.env), flag.env+"="+value)
		i += words - 1
	}
	return scrubbed, env, found
}

// secretAt is the secret with which the arguments begin, and how many of them it has; nil: they begin with none.
func secretAt(args []string) (_ *secretFlag, value string, words int) {
	for i := range secretFlags {
		flag := &secretFlags[i]
		value, joined := strings.CutPrefix(args[0], "--"+flag.name+"=")
		words := 1
		if !joined {
			if args[0] != "--"+flag.name || len(args) < 2 {
				continue
			}
			value, words = args[1], 2
		}
		if flag.secret(value) {
			return flag, value, words
		}
	}
	return nil, "", 0
}

func withoutVariable(environ []string, name string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, variable := range environ {
		if !strings.HasPrefix(variable, name+"=") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// hideSecrets has the process begin anew, as the same one to whoever started it, if there are secrets in its arguments.
func hideSecrets() {
	args, env, found := withoutSecrets(os.Args[1:], os.Environ())
	if !found {
		return
	}
	if err := replaceProcess(append(os.Args[:1:1], args...), env); err != nil {
		fmt.Fprintf(os.Stderr, "tidings: warning: other users of this machine can read the secrets in the arguments: %s\n", err)
	}
}

// secretFile is a file with a secret in it.
type secretFile struct {
	flag, path string
	value      *string // what it is for
}

// read reads the secret, unless no file is given. It reports whether all users of the machine could do so.
func (f secretFile) read() (exposed bool, err error) {
	if f.path == "" {
		return false, nil
	}
	if *f.value != "" {
		return false, fmt.Errorf("--%[1]s and --%[1]s-file are both given: one of them is enough", f.flag)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return false, fmt.Errorf("--%s-file: %w", f.flag, err)
	}
	*f.value = strings.TrimRight(string(text), "\r\n")
	if *f.value == "" {
		return false, fmt.Errorf("--%s-file: %s is empty", f.flag, f.path)
	}
	return isExposed(f.path), nil
}

// readSecrets reads files, and notes those that all may read.
func readSecrets(exposed *[]string, files ...secretFile) error {
	for _, file := range files {
		open, err := file.read()
		if err != nil {
			return err
		}
		if open {
			*exposed = append(*exposed, file.path)
		}
	}
	return nil
}

// isExposed reports whether all users of the machine may read a file. What is in /run/secrets was put there for a container, which is a
// machine with one user; it is readable, as who puts it there does not know which user that is.
func isExposed(path string) bool {
	if strings.HasPrefix(path, "/run/secrets/") {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o004 != 0
}

// validateSecrets reads the secrets that are in files, and names what is wrong with one.
func (c *serveCmd) validateSecrets() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key: one is given, and the other is needed as well")
	}
	if c.TLSKey != "" && isExposed(c.TLSKey) {
		c.exposed = append(c.exposed, c.TLSKey)
	}
	err := readSecrets(&c.exposed, secretFile{"jwt-secret", c.JWT.SecretFile, &c.JWT.Secret}, secretFile{"secret", c.SecretFile, &c.Secret},
		secretFile{"redis-url", c.Redis.URLFile, &c.Redis.URL})
	if err != nil {
		return err
	}
	c.JWT.SecretFile, c.SecretFile, c.Redis.URLFile = "", "", "" // they have been read
	for _, secret := range []struct{ name, value string }{{"jwt-secret", c.JWT.Secret}, {"secret", c.Secret}} {
		if n := len(secret.value); n > 0 && n < 32 {
			return fmt.Errorf("--%s: it has %d bytes, and is too easily guessed: at least 32", secret.name, n)
		}
		if secret.value != "" && c.NoSignIn {
			return fmt.Errorf("--no-sign-in and --%s: nobody needs a secret where nobody signs in", secret.name)
		}
	}
	return nil
}

// requireSecret refuses to serve a database with people in it by a secret that everybody could know.
func (c *serveCmd) requireSecret() error {
	if c.Secret != "" || c.JWT.Secret != "" || c.JWT.Keys != "" || c.NoSignIn {
		return nil
	}
	return errors.New("--secret: it is needed, and is to be the same for all instances and at each start: " +
		"make one by openssl rand -base64 32, and give it in TIDINGS_SECRET or in a file by --secret-file; " +
		"or give --jwt-secret or --jwt-keys, if somebody else signs the tokens, or --no-sign-in, if nobody signs in")
}
