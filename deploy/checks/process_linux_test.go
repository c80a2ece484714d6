package checks

import (
	"os/exec"
	"syscall"
)

// dieWithTest has a program end when the test's process does, however that ends. It has a group of its own, for those that it starts.
func dieWithTest(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true
}

// kill kills a program, with those that it has started: nginx's workers would outlive it.
func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
