package realtime

// Free reports whether nobody has the hub's lock.
func (h *Hub) Free() bool {
	if !h.mu.TryLock() {
		return false
	}
	h.mu.Unlock()
	return true
}
