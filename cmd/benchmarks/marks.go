package main

import "slices"

// marks is a set of the ids of rows: a bit for each, from the first one's on. Ten thousand clients have one each.
type marks struct {
	base int64 // the id of the first bit
	bits []uint64
}

// add returns false if the id was there before.
func (m *marks) add(id int64) bool {
	if m.bits == nil {
		m.base = id / 64 * 64
	}
	if base := id / 64 * 64; base < m.base {
		m.bits = slices.Concat(make([]uint64, (m.base-base)/64), m.bits)
		m.base = base
	}
	word, bit := int((id-m.base)/64), uint64(1)<<((id-m.base)%64)
	if word >= len(m.bits) {
		m.bits = append(m.bits, make([]uint64, word+1-len(m.bits)+16)...)
	}
	if m.bits[word]&bit != 0 {
		return false
	}
	m.bits[word] |= bit
	return true
}
