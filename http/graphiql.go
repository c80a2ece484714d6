package http

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"tidings/http/graph"
)

// GraphiQL and what it needs, compressed as deploy/update-graphiql.sh has left them, and what sets it up here.
//
//go:embed graphiql
var graphiqlFS embed.FS

var graphiqlTemplate = template.Must(template.ParseFS(graphiqlFS, "graphiql/index.html"))

// graphiqlTypes are the media types of the files that the page loads.
var graphiqlTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

// graphiqlVersion is a hash of all files. It is in their paths, so that browsers may keep them, and never mix those of two versions.
var graphiqlVersion = sync.OnceValue(func() string {
	hash := sha256.New()
	err := fs.WalkDir(graphiqlFS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := graphiqlFS.ReadFile(name)
		fmt.Fprintf(hash, "%s %d\n%s", name, len(content), content)
		return err
	})
	if err != nil {
		panic(err) // they are in the binary
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
})

// serveGraphiQL answers with the page to try the API.
func (s *Server) serveGraphiQL(w http.ResponseWriter, r *http.Request) {
	if !s.hasGraphiQL(w) {
		return
	}
	// A dialog keeps what is behind it from scrolling by a style that it writes into the page.
	s.beginPage(w, r, "'self' 'unsafe-inline'")
	if err := graphiqlTemplate.Execute(w, "/graphql/files/"+graphiqlVersion()+"/"); err != nil {
		s.Logger.Debug("GraphiQL's page was not sent", "error", err)
	}
}

// hasGraphiQL answers that there is no GraphiQL where the API does not tell what its schema is.
func (s *Server) hasGraphiQL(w http.ResponseWriter) bool {
	if !s.Graph.Introspection() {
		writeError(w, http.StatusNotFound, "not_found", "GraphiQL is off outside of development, as introspection is")
		return false
	}
	return true
}

// serveSchema answers with the schema as text.
func (s *Server) serveSchema(w http.ResponseWriter, _ *http.Request) {
	if !s.hasGraphiQL(w) {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(graph.Schema) // the client may be gone
}

// serveGraphiQLFile answers with a file that the page loads.
func (s *Server) serveGraphiQLFile(w http.ResponseWriter, r *http.Request) {
	if !s.hasGraphiQL(w) {
		return
	}
	name := r.PathValue("name")
	media := graphiqlTypes[path.Ext(name)]
	content, err := graphiqlFS.ReadFile("graphiql/" + name)
	compressed := err != nil
	if compressed {
		content, err = graphiqlFS.ReadFile("graphiql/" + name + ".gz")
	}
	if media == "" || err != nil || r.PathValue("version") != graphiqlVersion() {
		writeError(w, http.StatusNotFound, "not_found", "there is no such file")
		return
	}
	header := w.Header()
	header.Set("Content-Type", media)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	if compressed {
		header.Set("Vary", "Accept-Encoding")
		if !acceptsGzip(r.Header) {
			s.decompress(w, content)
			return
		}
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // the client may be gone
}

func (s *Server) decompress(w http.ResponseWriter, compressed []byte) {
	content, err := gzip.NewReader(bytes.NewReader(compressed))
	if err == nil {
		_, err = io.Copy(w, content)
	}
	if err != nil {
		s.Logger.Debug("a file of GraphiQL was not sent", "error", err)
	}
}

// acceptsGzip is whether a client has said that it takes gzip.
func acceptsGzip(header http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(header.Values("Accept-Encoding"), ","), ",") {
		name, parameter, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		_, weight, weighed := strings.Cut(parameter, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		return !weighed || err == nil && q > 0
	}
	return false
}
