// Package checks holds what is in deploy against what it is for. It has tests alone, and is a module of its own, so that what they
// need is no part of tidings.
//
// The image's build is done by hand, on this machine, and the program that comes of it is the one that all other checks run:
// behind each proxy, as each service of the compose file, by the unit of systemd, and alone in an empty root directory.
// Where a program that is to be configured is missing (deploy/install-test-tools.sh installs them), its check is skipped, but
// not in CI.
package checks
