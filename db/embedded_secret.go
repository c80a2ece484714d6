package db

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// secretBytes is how many random bytes a secret has.
const secretBytes = 32

// Secret is the service's own secret, which is made once for a DataDir and kept there, for its owner alone. Start must have returned.
func (e *Embedded) Secret() (string, error) {
	if e.server == nil {
		return "", errors.New("the secret of the embedded database: it is not started")
	}
	secret, err := e.dir.readSecret()
	if errors.Is(err, fs.ErrNotExist) {
		if err = e.dir.makeSecret(); err == nil {
			secret, err = e.dir.readSecret() // of whoever was first
		}
	}
	if err != nil {
		return "", fmt.Errorf("the secret of the embedded database: %w", err)
	}
	return secret, nil
}

func (d embeddedDir) readSecret() (string, error) {
	text, err := os.ReadFile(d.secretFile())
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < secretBytes {
		return "", fmt.Errorf("%s has been changed: it has %d bytes, and %d are the least; without the file another is made, "+
			"and whoever is signed in signs in again", d.secretFile(), len(secret), secretBytes)
	}
	return secret, nil
}

// makeSecret writes a new secret, unless there is one by now. The file is there as a whole or not at all.
func (d embeddedDir) makeSecret() error {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random)                          // it never fails
	file, err := os.CreateTemp(string(d), "secret-*") // for its owner alone
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(random) + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), d.secretFile()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(string(d))
}
