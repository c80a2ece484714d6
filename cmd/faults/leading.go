package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// role is the instance's part in reading the log by Redis: leading, following or alone; empty: it does not say.
func (s *service) role(ctx context.Context) string {
	if s.paused || !s.process.running() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/readyz", nil)
	if err != nil {
		return ""
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	var said struct{ Redis string }
	if json.NewDecoder(response.Body).Decode(&said) != nil {
		return ""
	}
	return said.Redis
}

// leading returns the instance that leads, as soon as there is one; nil if ctx ends before.
func (s *stage) leading(ctx context.Context) (*service, error) {
	waiting, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no instance has led for %s", patience))
	defer cancel()
	for {
		for _, one := range s.services {
			if one.role(waiting) == "leading" {
				return one, nil
			}
		}
		if pause(waiting, 20*time.Millisecond) {
			continue
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		return nil, context.Cause(waiting)
	}
}

// following returns one that does not lead, while another does; nil if ctx ends before there is one.
func (s *stage) following(ctx context.Context) (*service, error) {
	first, err := s.leading(ctx)
	if first == nil {
		return nil, err
	}
	var rest []*service
	for _, one := range s.services {
		if one != first {
			rest = append(rest, one)
		}
	}
	return rest[rand.IntN(len(rest))], nil
}

// pick returns an instance: by Redis the one that leads and one that follows in turn; nil if ctx ends before there is one.
func (s *stage) pick(ctx context.Context, turn int) (*service, error) {
	switch {
	case !s.fleet.redis:
		return s.services[rand.IntN(len(s.services))], nil
	case turn%2 == 0:
		return s.leading(ctx)
	}
	return s.following(ctx)
}
