package http

import (
	"net/http"
	"time"

	"tidings/http/graph"
)

// The cookies of pages of the service itself. Neither can be read by a script, nor is sent with a request of another site's.
const (
	accessCookie  = "tidings_token"
	refreshCookie = "tidings_refresh"
)

// refreshPath is where the refresh token's cookie is sent.
const refreshPath = "/auth"

// crossOrigin says which requests are of pages of other origins, by what their browsers tell.
var crossOrigin http.CrossOriginProtection

// cookieOf is a cookie's value, if the request is of a page of the service itself or of no page.
func cookieOf(r *http.Request, name string) string {
	cookie, err := r.Cookie(name)
	if err != nil || crossOrigin.Check(r) != nil {
		return ""
	}
	return cookie.Value
}

// mayHaveCookies says why a page that wants cookies gets none.
func (e authExchange) mayHaveCookies(wanted bool) error {
	if wanted && crossOrigin.Check(e.r) != nil {
		return &graph.AccountError{Code: graph.CodeForbidden, Message: "cookies are for pages of this service: others take the tokens"}
	}
	return nil
}

func (e authExchange) setCookies(signed *graph.SignedIn) {
	e.setCookie(accessCookie, "/", signed.AccessToken, signed.Expires)
	e.setCookie(refreshCookie, refreshPath, signed.RefreshToken, signed.SessionExpires)
}

// forgetCookies has the browser forget its cookies, if it has any.
func (e authExchange) forgetCookies() {
	for name, path := range map[string]string{accessCookie: "/", refreshCookie: refreshPath} {
		if _, err := e.r.Cookie(name); err == nil {
			e.setCookie(name, path, "", time.Unix(0, 0))
		}
	}
}

func (e authExchange) setCookie(name, path, value string, expires time.Time) {
	cookie := &http.Cookie{
		Name: name, Path: path, Value: value, Expires: expires, HttpOnly: true, Secure: e.secure, SameSite: http.SameSiteStrictMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(e.w, cookie)
}
