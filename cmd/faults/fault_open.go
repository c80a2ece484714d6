package main

import (
	"context"
	"errors"
)

var openTransaction = fault{
	name: "open-transaction", title: "a transaction open all the time", about: "a transaction that has written at the very beginning is committed at the very end",
	short: true, fleets: []fleet{alone, twoBy},
	cause: func(ctx context.Context, s *stage) error {
		w := s.writers.hire()
		defer w.disconnect()
		if !w.connect(ctx) {
			return errors.New("the long transaction cannot begin")
		}
		ok := w.write(func() error {
			if err := w.insertMessages(5); err != nil {
				return err
			}
			if err := w.insertComments(5, 1); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}, false)
		if !ok {
			return errors.New("the long transaction could not be committed")
		}
		return nil
	},
}
