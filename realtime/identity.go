package realtime

import (
	"encoding/json"
	"slices"
	"time"
)

// Identity is who a client is, as a token says. It is never changed. Nil is nobody who has signed in.
type Identity struct {
	User    string          // by which the database knows the user
	Claims  json.RawMessage // what the token says, as a JSON object, without what differs from token to token of the same user
	Session string          // of which the token is; empty: of none
	Issued  time.Time       // zero: not said
	Expires time.Time       // zero: never
}

// Name is the user's; empty for nobody.
func (i *Identity) Name() string {
	if i == nil {
		return ""
	}
	return i.User
}

// claims is what policies are given.
func (i *Identity) claims() json.RawMessage {
	if i == nil || i.Claims == nil {
		return json.RawMessage("{}")
	}
	return i.Claims
}

// rights are the same for all who may do the same.
func (i *Identity) rights() *Rights {
	if i == nil {
		return &Rights{Claims: i.claims()}
	}
	return &Rights{SignedIn: true, User: i.User, Claims: i.claims()}
}

// Rights are what a policy may look at of an identity.
type Rights struct {
	SignedIn bool
	User     string // empty also where a policy may not look at it
	Claims   json.RawMessage
}

// key is the same for the same rights.
func (r *Rights) key() string {
	if !r.SignedIn {
		return ""
	}
	return "+" + r.User + "\x00" + string(r.Claims)
}

// rightsFor are the rights of which the row security of a topic hears: whose are the same is asked about once.
func (i *Identity) rightsFor(t Topic) *Rights {
	r := i.rights()
	if i == nil || t.Claims == nil {
		return r
	}
	if !slices.Contains(t.Claims, "sub") && !t.owned() {
		r.User = ""
	}
	all := make(map[string]json.RawMessage)
	_ = json.Unmarshal(r.Claims, &all) // an object; of anything else, nothing is told
	for name := range all {
		if !slices.Contains(t.Claims, name) {
			delete(all, name)
		}
	}
	r.Claims, _ = json.Marshal(all) // which has its names sorted
	return r
}
