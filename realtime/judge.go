package realtime

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Judging is a question to a table's row security: which of some rows may be read with the rights?
type Judging struct {
	Topic  string
	Rights *Rights
	Rows   [][]byte // each is JSON with all columns; nil: too large to be told, and nobody's
}

// Judge asks row security.
type Judge interface {
	// Judge returns an answer for each row of each question. What cannot be said, now or later, is no; an error is for now.
	Judge(ctx context.Context, questions []Judging) ([][]bool, error)
}

// judgeKey is what is asked about once for a batch: the rights, and the channel whose events are meant.
type judgeKey struct {
	channel Channel
	rights  string
	changes uint64 // how often what policies look at had changed: nobody is given answers from before
}

// judgement is what somebody may have of the events of a batch.
type judgement struct {
	question Judging
	events   []*Event // of which is asked; until it is done
	verdicts map[ID]verdict
	done     bool
	made     judgements // where it stands, for others with the same rights
	alone    bool       // is asked by itself: together with others it could not be answered
	runs     []*Run     // wait for it
}

// judgements are those of a batch.
type judgements map[judgeKey]*judgement

// bench is where judgements wait until the database has been asked. Its lock is taken with any of the others held.
type bench struct {
	mu     sync.Mutex
	asked  []*judgement // in order
	bell   chan struct{}
	busy   map[busyKey]bool // that the database is being asked about
	judged uint64           // events times rights
}

// guard is what a run waits for whose events are not seen by everybody alike.
type guard struct {
	views    []view
	answers  judgements    // until they are all there
	lacks    int           // answers
	sleepers []*Subscriber // to be woken when there are none to wait for
}

// guard has the run, which is of the batch, tell what the subscriber may have of it; nil: there is nothing to tell. s.mu is held.
func (s *Subscriber) guard(run *Run, of *batch) *Run {
	if run == nil || !s.guarded {
		return run
	}
	b := &s.hub.bench
	b.mu.Lock()
	defer b.mu.Unlock()
	if of.judged == nil {
		of.judged = make(judgements)
	}
	g := &guard{views: s.views, answers: make(judgements)}
	run.guard = g
	for _, v := range s.views {
		if v.kind != GuardRows || !slices.ContainsFunc(run.Events, func(e *Event) bool { return e.in(v.channel) && !e.free() }) {
			continue
		}
		j := of.judged[v.key]
		if j == nil {
			j = judge(v, of.Events)
			j.made = of.judged
			of.judged[v.key] = j
			b.ask(j)
		}
		g.answers[v.key] = j
		if !j.done {
			g.lacks++
			j.runs = append(j.runs, run)
		}
	}
	if g.lacks == 0 {
		run.show()
		if len(run.Events) == 0 {
			return nil
		}
	}
	return run
}

// judge makes the question.
func judge(v view, events []*Event) *judgement {
	j := &judgement{question: Judging{Topic: v.channel.Topic, Rights: v.rights}, verdicts: make(map[ID]verdict)}
	for _, e := range events {
		if !e.in(v.channel) || e.free() || e.Guard == nil {
			continue
		}
		j.events = append(j.events, e)
		now := e.Guard.Now
		if now == nil && !e.Omitted {
			now = e.Data
		}
		j.question.Rows = append(j.question.Rows, now)
		if e.update() {
			j.question.Rows = append(j.question.Rows, e.Guard.Was)
		}
	}
	j.done = len(j.events) == 0
	return j
}

// ask has the database asked; mu is held.
func (b *bench) ask(j *judgement) {
	if j.done {
		return
	}
	b.asked = append(b.asked, j)
	b.ring()
}

// ring has somebody look whether there is something to ask.
func (b *bench) ring() {
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// answer takes the answers, in the order of the question's rows; mu is held.
func (j *judgement) answer(rows []bool) {
	for _, e := range j.events {
		now, was := rows[0], rows[0]
		rows = rows[1:]
		if e.update() {
			if e.Guard.Was != nil { // otherwise nothing is known of the row before
				was = rows[0]
			}
			rows = rows[1:]
		}
		j.verdicts[e.ID] = e.verdictOf(now, was)
	}
	j.done, j.events, j.question.Rows = true, nil, nil
}

// show takes out of the run what is not to be seen; the bench's mu is held, or nobody else has the run.
func (r *Run) show() {
	var events []*Event
	for _, e := range r.Events {
		if seen := e.seen(r.guard.views, r.guard.answers); seen != nil {
			events = append(events, seen)
		}
	}
	r.Events = events
	r.guard.answers = nil
}

// ready reports whether it is known what is to be told; if not, the subscriber will be woken when it is. s.mu is held.
func (b *bench) ready(r *Run, s *Subscriber) bool {
	if r.guard == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.guard.lacks == 0 {
		return true
	}
	if !slices.Contains(r.guard.sleepers, s) {
		r.guard.sleepers = append(r.guard.sleepers, s)
	}
	return false
}

// What is asked at a time, at most.
const (
	maxJudgings     = 100 // questions
	maxJudgingBytes = 4 << 20
)

// take returns what is to be asked next: nothing for rights of which it is not known yet what was asked before, so that where that takes long
// it holds up no others.
func (b *bench) take() (next []*judgement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes, keys := 0, make(map[busyKey]bool)
	b.asked = slices.DeleteFunc(b.asked, func(j *judgement) bool {
		key := j.of()
		full := len(keys) == maxJudgings && !keys[key] || bytes >= maxJudgingBytes || len(next) > 0 && (j.alone || next[0].alone)
		if full || b.busy[key] {
			return false
		}
		keys[key] = true
		for _, row := range j.question.Rows {
			bytes += len(row)
		}
		next = append(next, j)
		return true
	})
	if b.busy == nil {
		b.busy = make(map[busyKey]bool)
	}
	maps.Copy(b.busy, keys)
	return next
}

// together makes one question of those about the same rights: each costs much more than a row. part are each one's answers, of all answers.
func together(asked []*judgement) (questions []Judging, part func(answers [][]bool) [][]bool) {
	indices := make(map[busyKey]int)
	for _, j := range asked {
		i, is := indices[j.of()]
		if !is {
			i = len(questions)
			indices[j.of()] = i
			questions = append(questions, Judging{Topic: j.question.Topic, Rights: j.question.Rights})
		}
		questions[i].Rows = append(questions[i].Rows, j.question.Rows...)
	}
	return questions, func(answers [][]bool) [][]bool {
		parts := make([][]bool, len(asked))
		for n, j := range asked {
			i, rows := indices[j.of()], len(j.question.Rows)
			parts[n], answers[i] = answers[i][:rows], answers[i][rows:]
		}
		return parts
	}
}

// busyKey is whose rights are asked about, in which topic.
type busyKey struct{ topic, rights string }

func (j *judgement) of() busyKey { return busyKey{j.question.Topic, j.question.Rights.key()} }

// judge asks the database about rows, until ctx ends.
func (h *Hub) judge(ctx context.Context) {
	for {
		asked := h.bench.take()
		if len(asked) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-h.bench.bell:
			}
			continue
		}
		questions, part := together(asked)
		answers, err := h.source.Judge(ctx, questions)
		if err != nil { // the database does not answer, or not for one of them: who waits goes on waiting
			if !pause(ctx, retryAfter) {
				return
			}
			h.bench.again(asked)
			continue
		}
		for _, s := range h.bench.settle(asked, part(answers)) {
			s.mu.Lock()
			s.wakeup()
			s.mu.Unlock()
		}
	}
}

// again has what could not be answered asked once more, each by itself and behind what else there is.
func (b *bench) again(asked []*judgement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, j := range asked {
		delete(b.busy, j.of())
		j.alone = true
		b.asked = append(b.asked, j)
	}
	b.ring()
}

// settle takes the answers, and returns who waited for them.
func (b *bench) settle(asked []*judgement, answers [][]bool) (sleepers []*Subscriber) {
	// Where each user has rights of his own, it is too much to be kept with the events: who comes later has it asked again.
	time.AfterFunc(shareLoad, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, j := range asked {
			for key, made := range j.made {
				if made == j {
					delete(j.made, key)
				}
			}
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, j := range asked {
		delete(b.busy, j.of())
		b.judged += uint64(len(j.events))
		j.answer(answers[i])
		for _, run := range j.runs {
			if run.guard.lacks--; run.guard.lacks > 0 {
				continue
			}
			run.show()
			sleepers = append(sleepers, run.guard.sleepers...)
			run.guard.sleepers = nil
		}
		j.runs = nil
	}
	return sleepers
}

// pause waits, and returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
