package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"tidings/db"
	tidingshttp "tidings/http"
)

// jwtFlags say whose tokens are taken, besides the service's own.
type jwtFlags struct {
	Secret     string        `help:"The secret, of 32 bytes at least, by which an issuer signs users' tokens (HS256, HS384, HS512)." env:"TIDINGS_JWT_SECRET" placeholder:"SECRET"`
	SecretFile string        `help:"A file with that secret." env:"TIDINGS_JWT_SECRET_FILE" placeholder:"FILE"`
	Keys       string        `help:"The public keys of an issuer of tokens, instead (RS, PS, ES and EdDSA): the URL of a JSON Web Key Set, or a file." env:"TIDINGS_JWT_KEYS" placeholder:"URL|FILE"`
	Issuer     string        `help:"What is to stand in the claim iss." env:"TIDINGS_JWT_ISSUER" placeholder:"NAME"`
	Audience   []string      `help:"What is to stand in the claim aud, or one of several." env:"TIDINGS_JWT_AUDIENCE" placeholder:"NAME"`
	Leeway     time.Duration `help:"By how much the issuer's clock may differ." default:"5s" env:"TIDINGS_JWT_LEEWAY"`
	UserClaim  string        `help:"The claim that names the user." default:"sub" env:"TIDINGS_JWT_USER_CLAIM" placeholder:"CLAIM"`
	Users      string        `help:"Who that is in table users: id, the one with that id; subject, the one whose column subject has that; create, the same, made at first sight. Without the table, users are called as the claim says." enum:"id,subject,create" default:"id" env:"TIDINGS_JWT_USERS" placeholder:"HOW"`
}

func (f *jwtFlags) Validate() error {
	switch {
	case (f.Secret != "" || f.SecretFile != "") && f.Keys != "":
		return errors.New("--jwt-secret and --jwt-keys: an issuer signs by one or the other")
	case f.Leeway < 0 || f.Leeway > 10*time.Minute:
		return fmt.Errorf("--jwt-leeway: %s is not between 0s and 10m", f.Leeway)
	case f.UserClaim == "":
		return errors.New("--jwt-user-claim: it is empty")
	case f.Keys == "":
		return nil
	case f.Issuer == "" || len(f.Audience) == 0:
		return errors.New("--jwt-keys: an issuer's keys sign tokens for others as well: say --jwt-issuer and --jwt-audience")
	}
	if u, err := url.Parse(f.Keys); err == nil && u.Scheme != "" && u.Scheme != "file" {
		if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("--jwt-keys: %q is not a URL such as https://issuer.example.com/.well-known/jwks.json", f.Keys)
		}
		if host := u.Hostname(); u.Scheme == "http" && host != "localhost" && host != "127.0.0.1" && host != "::1" {
			return fmt.Errorf("--jwt-keys: %q is not by https, so anybody on the way could put keys of his own there", f.Keys)
		}
		return nil
	}
	if _, err := os.Stat(f.Keys); err != nil {
		return fmt.Errorf("--jwt-keys: %w", err)
	}
	return nil
}

// issuer is whose tokens are taken; nil: nobody's.
func (f *jwtFlags) issuer(ctx context.Context, logger *slog.Logger) (issuer *tidingshttp.Issuer, err error) {
	switch {
	case f.Secret != "":
		issuer = tidingshttp.SharedSecret([]byte(f.Secret))
	case f.Keys != "":
		if issuer, err = tidingshttp.PublicKeys(ctx, strings.TrimPrefix(f.Keys, "file://"), logger); err != nil {
			return nil, fmt.Errorf("--jwt-keys: %w", err)
		}
	default:
		return nil, nil
	}
	issuer.Name, issuer.Audience, issuer.Leeway, issuer.UserClaim = f.Issuer, f.Audience, f.Leeway, f.UserClaim
	return issuer, nil
}

// subjects finds the users that an issuer's tokens name.
func (f *jwtFlags) subjects(database *db.DB, tables func() bool) *db.Subjects {
	return &db.Subjects{DB: database, Tables: tables, ByID: f.Users == "id", Create: f.Users == "create"}
}
