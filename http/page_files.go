package http

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"
)

// pageTypes are the media types of the files that pages load.
var pageTypes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

// pageFile is a file that pages load.
type pageFile struct {
	media      string
	tag        string // a hash of what it has
	content    []byte
	compressed []byte
}

func newPageFile(media string, content []byte) *pageFile {
	hash := sha256.Sum256(content)
	var compressed bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&compressed, gzip.BestCompression) // there is such a level
	_, _ = zip.Write(content)                                        // to memory
	_ = zip.Close()
	return &pageFile{media: media, tag: hex.EncodeToString(hash[:8]), content: content, compressed: compressed.Bytes()}
}

// serve answers with the file. Browsers keep it, and ask each time whether it has changed.
func (f *pageFile) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.media)
	header.Set("Cache-Control", "no-cache")
	header.Set("Vary", "Accept-Encoding")
	content, tag := f.content, f.tag
	if acceptsGzip(r.Header) {
		content, tag = f.compressed, tag+"-gzip"
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// readPageFiles reads them by their paths. A page itself is none, nor is what has another ending.
var readPageFiles = sync.OnceValue(func() map[string]*pageFile {
	files := make(map[string]*pageFile)
	err := fs.WalkDir(pageFS, "page", func(name string, entry fs.DirEntry, err error) error {
		media := pageTypes[path.Ext(name)]
		if err != nil || entry.IsDir() || media == "" {
			return err
		}
		content, err := pageFS.ReadFile(name)
		if err != nil {
			return err
		}
		files["/"+name] = newPageFile(media, content)
		return nil
	})
	if err != nil {
		panic(err) // they are in the binary
	}
	return files
})

// pageModules are the paths of the page's modules, which it fetches all at once and not as one names the next.
var pageModules = sync.OnceValue(func() []string {
	var modules []string
	for name := range readPageFiles() {
		if dir := path.Dir(name); path.Ext(name) == ".js" && (dir == "/page" || dir == "/page/lib") && name != "/page/early.js" {
			modules = append(modules, name)
		}
	}
	slices.Sort(modules)
	return modules
})

// pageFiles serves what pages load.
func pageFiles() http.Handler {
	files := readPageFiles()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := files[r.URL.Path]
		if file == nil {
			writeError(w, http.StatusNotFound, "not_found", "there is no such file")
			return
		}
		file.serve(w, r)
	})
}
