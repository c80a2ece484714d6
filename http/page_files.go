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
		hash := sha256.Sum256(content)
		var compressed bytes.Buffer
		zip, _ := gzip.NewWriterLevel(&compressed, gzip.BestCompression) // there is such a level
		_, _ = zip.Write(content)                                        // to memory
		_ = zip.Close()
		files["/"+name] = &pageFile{media: media, tag: hex.EncodeToString(hash[:8]), content: content, compressed: compressed.Bytes()}
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

// pageFiles serves what pages load. Browsers keep it, and ask each time whether it has changed.
func pageFiles() http.Handler {
	files := readPageFiles()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := files[r.URL.Path]
		if file == nil {
			writeError(w, http.StatusNotFound, "not_found", "there is no such file")
			return
		}
		header := w.Header()
		header.Set("Content-Type", file.media)
		header.Set("Cache-Control", "no-cache")
		header.Set("Vary", "Accept-Encoding")
		content, tag := file.content, file.tag
		if acceptsGzip(r.Header) {
			content, tag = file.compressed, tag+"-gzip"
			header.Set("Content-Encoding", "gzip")
		}
		header.Set("ETag", `"`+tag+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
