package main

import (
	"fmt"
	"strings"

	"tidings/db"
)

type urlCmd struct {
	TCP bool `name:"tcp" help:"Over TCP, with the password, for tools that cannot use a Unix socket."`
}

func (c *urlCmd) Run(where *database) error {
	url, err := where.url(c.TCP)
	if err != nil {
		return err
	}
	fmt.Println(url)
	return nil
}

// url is that of the database given or, without one, of the embedded server, which must be running.
func (d *database) url(tcp bool) (string, error) {
	if d.DatabaseURL != "" {
		return d.DatabaseURL, nil
	}
	socketURL, tcpURL, err := db.EmbeddedURL(d.dataDir())
	if err != nil {
		return "", fmt.Errorf("%w: start it with tidings serve, or give --database-url", err)
	}
	if tcp {
		return tcpURL, nil
	}
	return socketURL, nil
}

type versionCmd struct{}

func (c *versionCmd) Run() error {
	fmt.Println("tidings", version)
	return nil
}

func replaceQuotes(word string) string { return strings.ReplaceAll(word, "'", `'\''`) }
