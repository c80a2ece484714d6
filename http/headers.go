package http

import (
	"net/http"
	"time"
)

// The headers that every answer has. The values are shared, and not to be written to.
var (
	nosniff       = []string{"nosniff"}                                                                         // what is sent as JSON is not run as a script
	noReferrer    = []string{"no-referrer"}                                                                     // other sites are not told where a link was
	notFramed     = []string{"DENY"}                                                                            // nobody puts our pages under theirs, for clicks that are meant for something else
	ownWindow     = []string{"same-origin"}                                                                     // a page that opens ours has no hold on it
	ownPages      = []string{"same-origin"}                                                                     // others cannot embed an answer; those allowed to by CORS ask for it otherwise
	nothingAtAll  = []string{policyOfData}                                                                      // should a browser show an answer as a page, it does nothing
	alwaysByTLS   = []string{"max-age=63072000"}                                                                // two years, of this very name
	lastAnswer    = []string{"close"}                                                                           // the next request is for another instance
	noPermissions = []string{"camera=(), geolocation=(), hid=(), microphone=(), payment=(), serial=(), usb=()"} // pages ask for none
)

// policyOfData is for all that is not a page.
const policyOfData = "default-src 'none'; frame-ancestors 'none'"

// secured gives each answer the headers that keep browsers from doing with it what nobody meant. Handlers may say otherwise. The
// ResponseWriter is handed on as it is, so that connections can be taken over, and nothing is left of this when they are.
func (s *Server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header["X-Content-Type-Options"] = nosniff
		header["Referrer-Policy"] = noReferrer
		header["X-Frame-Options"] = notFramed
		header["Cross-Origin-Opener-Policy"] = ownWindow
		header["Cross-Origin-Resource-Policy"] = ownPages
		header["Content-Security-Policy"] = nothingAtAll
		if s.secure(r) {
			header["Strict-Transport-Security"] = alwaysByTLS
		}
		if s.stopping.Load() {
			header["Connection"] = lastAnswer
		}
		if r.Body != http.NoBody {
			// It is awaited also where nobody reads it: there may be another request behind it.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // where that cannot be, the server's own has to do
		}
		next.ServeHTTP(w, r)
	})
}

// beginPage writes the header of a page, which has its own scripts and styles and speaks to its own server.
func (s *Server) beginPage(w http.ResponseWriter, r *http.Request, styles string) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src "+styles+"; img-src 'self' data:; "+
		"connect-src 'self' "+s.webSocketOrigin(r)+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header["Permissions-Policy"] = noPermissions
	header.Set("Cache-Control", "no-store")
}
