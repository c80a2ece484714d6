package http

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"tidings/clients/js"
)

// clientFile is a file of the JavaScript client, as it is served. It is public, and pages of any origin may import it: what it may connect
// to is another question.
type clientFile struct {
	media      string
	content    []byte
	compressed []byte
	tag        string
}

// clientFiles are those files, by their paths.
var clientFiles = sync.OnceValue(func() map[string]clientFile {
	return map[string]clientFile{
		"/tidings.js":   newClientFile("text/javascript; charset=utf-8", js.Module),
		"/tidings.d.ts": newClientFile("text/plain; charset=utf-8", js.Types),
	}
})

func newClientFile(media string, content []byte) clientFile {
	var compressed bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&compressed, gzip.BestCompression) // there is such a level
	_, err := writer.Write(content)
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		panic(fmt.Sprintf("compress in memory: %v", err))
	}
	hash := sha256.Sum256(content)
	return clientFile{media, content, compressed.Bytes(), hex.EncodeToString(hash[:8])}
}

func serveClient(w http.ResponseWriter, r *http.Request) {
	file := clientFiles()[r.URL.Path]
	header := w.Header()
	header.Set("Content-Type", file.media)
	header.Set("Cache-Control", "no-cache")
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("Vary", "Accept-Encoding")
	content, tag := file.content, `"`+file.tag+`"`
	if acceptsGzip(r.Header) {
		content, tag = file.compressed, `"`+file.tag+`-gzip"`
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // the client may be gone
}
