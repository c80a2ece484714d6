package http

import "testing"

func TestInitToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		payload, want string
		bad           bool
	}{
		{payload: ""},
		{payload: `null`},
		{payload: `{}`},
		{payload: `{"authorization":null,"token":null}`},
		{payload: `{"Authorization":"Bearer x"}`, want: "x"},
		{payload: `{"token":"x"}`, want: "x"},
		{payload: `{"token":"y","authorization":"Bearer x"}`, want: "x"}, // whatever the order
		{payload: `{"token":"y","authorization":null}`, want: "y"},
		{payload: `{"token":1}`, bad: true},
		{payload: `[]`, bad: true},
	} {
		for range 20 { // the order of a map's names is another each time
			if got, err := initToken([]byte(tt.payload)); got != tt.want || (err != nil) != tt.bad {
				t.Fatalf("%s: got %q %v, want %q", tt.payload, got, err, tt.want)
			}
		}
	}
}
