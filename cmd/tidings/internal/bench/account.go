package bench

import "slices"

// account is one subscriber's, of the rows of its channel.
type account struct {
	received  int64 // different rows
	doubled   int64 // rows that had come before
	misplaced int64 // rows that came behind one that was begun after they had been committed

	base    int64    // of the channel's rows, all with lower sequences have come
	ahead   []uint64 // a bit for each from base on
	settled int64    // the highest number below which all had been committed when a row that has come was begun
}

// receive notes that a row has come, and returns false if it had come before.
func (a *account) receive(sequence, number, settled int64) bool {
	if sequence < a.base {
		a.doubled++
		return false
	}
	word, bit := int((sequence-a.base)/64), uint64(1)<<(sequence%64)
	for word >= len(a.ahead) {
		a.ahead = append(a.ahead, 0)
	}
	if a.ahead[word]&bit != 0 {
		a.doubled++
		return false
	}
	a.ahead[word] |= bit
	for len(a.ahead) > 0 && a.ahead[0] == ^uint64(0) {
		a.ahead = slices.Delete(a.ahead, 0, 1)
		a.base += 64
	}
	a.received++
	if number < a.settled {
		a.misplaced++
	}
	a.settled = max(a.settled, settled)
	return true
}
