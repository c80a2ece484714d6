package http

import (
	"net/http"
	"sync"

	"golang.org/x/time/rate"
)

// persons are the users who have connections to this server.
type persons struct {
	mu    sync.Mutex
	there map[string]*person
}

// person is what the connections of one user share.
type person struct {
	user string
	n    int           // connections; of persons.mu
	pace *rate.Limiter // of what they say
}

// enter counts a connection of the user's in; nil: there are as many as one may have.
func (s *Server) enter(user string) *person {
	s.persons.mu.Lock()
	defer s.persons.mu.Unlock()
	if s.persons.there == nil {
		s.persons.there = make(map[string]*person)
	}
	p := s.persons.there[user]
	if p == nil {
		p = &person{user: user, pace: s.newPace()}
		s.persons.there[user] = p
	}
	if p.n >= s.options.MaxConnectionsPerUser {
		return nil
	}
	p.n++
	return p
}

// exit is the reverse of enter.
func (s *Server) exit(p *person) {
	s.persons.mu.Lock()
	defer s.persons.mu.Unlock()
	if p.n--; p.n == 0 {
		delete(s.persons.there, p.user)
	}
}

var tooManyOfUser = &refusal{status: http.StatusTooManyRequests, retryAfter: 5, code: "too_many_connections_of_user",
	message: "you have as many connections as one may have: close some, or come back in 5 s"}
