package main

import (
	"io"
	"os/exec"
)

// reap waits for the end of its input, which is the end of our process at the latest, however that comes. Then it ends every
// process whose command line names the directory, unmounts what is mounted in it, and removes it.
const reap = `
trap '' INT TERM HUP
cat >/dev/null
running() { ps -eo pid=,args= | awk -v dir="$1" -v me=$$ 'index($0, dir "/") && $1 != me { print $1 }'; }
for signal in QUIT KILL; do
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		pids=$(running "$1")
		[ -z "$pids" ] && break
		[ $try = 1 ] && kill -$signal $pids 2>/dev/null
		sleep 0.1
	done
done
if [ -r /proc/mounts ]; then
	awk -v dir="$1" 'index($2, dir "/") == 1 { print $2 }' /proc/mounts | while read -r mount; do umount -l "$mount"; done
fi
for try in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$1" 2>/dev/null && break
	sleep 0.2
done
`

type reaper struct {
	cmd   *exec.Cmd
	alive io.Closer // what it watches
}

func startReaper(dir string) (*reaper, error) {
	r := &reaper{cmd: exec.Command("sh", "-c", reap, "reap", dir)}
	r.cmd.SysProcAttr = ownGroup(nil)
	stdin, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r.alive = stdin
	return r, r.cmd.Start()
}

// sweep does what there is to do, and returns when it is done.
func (r *reaper) sweep() {
	_ = r.alive.Close()
	_ = r.cmd.Wait()
}
