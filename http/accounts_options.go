package http

import "time"

// AccountOptions are the limits of accounts. Zero values take the defaults. What is counted is counted by each instance for itself.
type AccountOptions struct {
	// SignUpClosed has nobody sign up.
	SignUpClosed bool
	// NameFailures is how many times in a row a wrong password may be given for a username, and NamePause after what time one more may
	// be; 10 and 1 min. Until then the right one is refused as well.
	NameFailures int
	NamePause    time.Duration
	// AddressFailures and AddressPause are the same for all that comes from an address; 50 and 1 s.
	AddressFailures int
	AddressPause    time.Duration
	// SignUps is how many users may sign up at once from an address, and SignUpPause after what time one more may; 20 and 1 min, and from this
	// machine, where nothing was said, as many as like.
	SignUps     int
	SignUpPause time.Duration
	// MaxRemembered is how many names and how many addresses are remembered for that; 100,000. Of more, those are forgotten that
	// matter least.
	MaxRemembered int

	localSignUps bool // from this machine, without a limit
}

func (o AccountOptions) withDefaults() AccountOptions {
	def := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	pause := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	def(&o.NameFailures, 10)
	def(&o.AddressFailures, 50)
	o.localSignUps = o.SignUps == 0
	def(&o.SignUps, 20)
	def(&o.MaxRemembered, 100_000)
	pause(&o.NamePause, time.Minute)
	pause(&o.AddressPause, time.Second)
	pause(&o.SignUpPause, time.Minute)
	return o
}
