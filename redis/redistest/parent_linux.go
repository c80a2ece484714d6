package redistest

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the program when the one that started it is gone.
func endWithParent(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
