package db

import "testing"

func TestJudgeVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[[2]int]Severity{
		{13, 22}: SeverityProblem, {14, 3}: SeverityWarning, {14, 4}: SeverityOK, {15, 0}: SeverityOK, {18, 1}: SeverityOK, {19, 0}: SeverityNote,
	} {
		e := &examination{}
		judgeVersion(e, version[0], version[1])
		got := SeverityOK
		if len(e.found) > 0 {
			got = e.found[0].Level
		}
		if got != want || len(e.found) > 1 {
			t.Errorf("PostgreSQL %d.%d: got %+v, want %s", version[0], version[1], e.found, want)
		}
	}
}
