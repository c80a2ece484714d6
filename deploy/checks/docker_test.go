package checks

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// repository is the root of the repository, where the image is built.
const repository = "../.."

// image is what the Dockerfile makes, without a container engine.
type image struct {
	root        string // what is in it
	work        string // where it was built
	env         []string
	user        string
	command     []string // entrypoint and command
	healthcheck []string
	ports       []string
}

// The image is built once, for the first test that needs it, in a directory that goes after the last.
var (
	theImage  = sync.OnceValues(buildImage)
	workplace string
)

func builtImage(t *testing.T) *image {
	t.Helper()
	built, err := theImage()
	if err != nil {
		t.Fatalf("deploy/docker/Dockerfile: %s", err)
	}
	return built
}

// program is tidings, as it is in the image.
func program(t *testing.T) string {
	t.Helper()
	return filepath.Join(builtImage(t).root, "tidings")
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tidings-checks-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workplace = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// buildImage does what the Dockerfile says: copies what .dockerignore leaves of the repository, runs what is to be run, and puts
// together what the last stage is made of. What the stage of building starts from is this machine.
func buildImage() (*image, error) {
	stages, err := parseDockerfile(filepath.Join(repository, "deploy/docker/Dockerfile"))
	if err != nil {
		return nil, err
	}
	if len(stages) != 2 || stages[1].BaseName != "scratch" {
		return nil, fmt.Errorf("it has other stages than one that builds, and one from scratch")
	}
	files, err := buildContext()
	if err != nil {
		return nil, err
	}
	built := &image{work: filepath.Join(workplace, "build"), root: filepath.Join(workplace, "root")}
	for _, dir := range []string{built.work, built.root} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	env, workdir := os.Environ(), ""
	for _, command := range stages[0].Commands {
		switch c := command.(type) {
		case *instructions.WorkdirCommand:
			workdir = c.Path
		case *instructions.ArgCommand:
			for _, arg := range c.Args {
				if env = append(env, arg.Key+"="); arg.Value != nil {
					env[len(env)-1] += *arg.Value
				}
			}
		case *instructions.CopyCommand:
			err = copyContext(files, c, built.work)
		case *instructions.RunCommand:
			run := exec.Command("/bin/sh", "-c", strings.Join(c.CmdLine, " "))
			run.Dir, run.Env = built.work, env
			if out, runErr := run.CombinedOutput(); runErr != nil {
				err = fmt.Errorf("RUN %s: %w\n%s", strings.Join(c.CmdLine, " "), runErr, out)
			}
		default:
			err = fmt.Errorf("%s: not known here, and so not checked", command.Name())
		}
		if err != nil {
			return nil, err
		}
	}
	for _, command := range stages[1].Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			if c.From != stages[0].Name || len(c.SourcePaths) != 1 {
				return nil, fmt.Errorf("%s: it is from %q", c, c.From)
			}
			from := c.SourcePaths[0]
			if inside, ok := strings.CutPrefix(from, workdir+"/"); ok {
				from = filepath.Join(built.work, inside)
			}
			err = copyFile(from, filepath.Join(built.root, c.DestPath))
		case *instructions.EnvCommand:
			for _, v := range c.Env {
				built.env = append(built.env, v.Key+"="+v.Value)
			}
		case *instructions.UserCommand:
			built.user = c.User
		case *instructions.ExposeCommand:
			built.ports = append(built.ports, c.Ports...)
		case *instructions.HealthCheckCommand:
			built.healthcheck = c.Health.Test
		case *instructions.EntrypointCommand:
			built.command = slices.Concat(c.CmdLine, built.command)
		case *instructions.CmdCommand:
			built.command = append(built.command, c.CmdLine...)
		default:
			err = fmt.Errorf("%s: not known here, and so not checked", command.Name())
		}
		if err != nil {
			return nil, err
		}
	}
	return built, nil
}

func parseDockerfile(name string) ([]instructions.Stage, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if len(tree.Warnings) > 0 {
		return nil, fmt.Errorf("%+v", tree.Warnings)
	}
	stages, _, err := instructions.Parse(tree.AST, nil)
	return stages, err
}

// buildContext lists the files that would be sent to the builder: those that git has or would take, without those of .dockerignore.
func buildContext() ([]string, error) {
	ignored, err := os.Open(filepath.Join(repository, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	defer ignored.Close()
	patterns, err := ignorefile.ReadAll(ignored)
	if err != nil {
		return nil, err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	list.Dir = repository
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		skip, err := matcher.MatchesOrParentMatches(lines.Text())
		if err != nil {
			return nil, err
		}
		if !skip {
			files = append(files, lines.Text())
		}
	}
	return files, lines.Err()
}

// copyContext does a COPY of the context to the directory where it is built.
func copyContext(files []string, c *instructions.CopyCommand, work string) error {
	if c.From != "" || c.DestPath != "." && c.DestPath != "./" {
		return fmt.Errorf("%s: only files of the context, to where it is built, are known here", c)
	}
	for _, source := range c.SourcePaths {
		found := false
		for _, file := range files {
			if source != "." && file != path.Clean(source) {
				continue
			}
			found = true
			err := copyFile(filepath.Join(repository, file), filepath.Join(work, file))
			if err != nil && !os.IsNotExist(err) { // one that git still has
				return err
			}
		}
		if !found {
			return fmt.Errorf("%s: there is no %s, or .dockerignore leaves it out", c, source)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil || info.IsDir() {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	// A program that another test starts meanwhile would have the file open for writing until it runs, and nobody could run the file.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

// What is built is one static program, which runs with nothing else around it, as a user that nobody knows.
func TestImage(t *testing.T) {
	t.Parallel()
	built := builtImage(t)

	t.Run("static", func(t *testing.T) {
		file, err := elf.Open(program(t))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		libraries, err := file.ImportedLibraries()
		if err != nil || len(libraries) > 0 {
			t.Errorf("it needs %v (%v)", libraries, err)
		}
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP {
				t.Error("it needs a dynamic loader")
			}
		}
	})

	t.Run("nothing else", func(t *testing.T) {
		want := []string{"LICENSE", "etc/ssl/certs/ca-certificates.crt", "tidings"}
		var got []string
		err := fs.WalkDir(os.DirFS(built.root), ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				got = append(got, name)
			}
			return err
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("the image has %v (%v), want %v", got, err, want)
		}
	})

	t.Run("no secrets", func(t *testing.T) {
		files, err := buildContext()
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasPrefix(file, ".git/") || strings.HasPrefix(file, "deploy/") || strings.HasSuffix(file, "_test.go") || strings.Contains(file, "secrets/") {
				t.Errorf(".dockerignore lets %s through", file)
			}
		}
	})

	t.Run("runs", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root has another root directory")
		}
		var uid, gid uint32
		if n, err := fmt.Sscanf(built.user, "%d:%d", &uid, &gid); n != 2 || uid == 0 || gid == 0 {
			t.Fatalf("its user is %q (%v), want two numbers that are not 0", built.user, err)
		}
		inside := func(env []string, command ...string) *exec.Cmd {
			return &exec.Cmd{
				Path: command[0], Args: command, Dir: "/", Env: slices.Concat(built.env, env),
				SysProcAttr: &syscall.SysProcAttr{Chroot: built.root, Credential: &syscall.Credential{Uid: uid, Gid: gid}},
			}
		}
		if got := output(t, inside(nil, "/tidings", "version")); got != "tidings dev\n" {
			t.Errorf("tidings version: %q", got)
		}
		database := startPostgres(t, freePort(t), "secret")
		address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		secrets := filepath.Join(built.root, "run/secrets")
		defer os.RemoveAll(filepath.Dir(secrets))
		writeFile(t, filepath.Join(secrets, "database_url"), database.database(t, "alone")+"\n")
		server := start(t, inside([]string{"DATABASE_URL_FILE=/run/secrets/database_url", "TIDINGS_NO_SIGN_IN=true", "TIDINGS_LISTEN=" + address, "TZ=Asia/Tokyo"}, built.command...))
		if !slices.Equal(built.healthcheck[:1], []string{"CMD"}) {
			t.Fatalf("its healthcheck is %v: there is no shell", built.healthcheck)
		}
		eventually(t, "it is healthy", func() (bool, string) {
			out, err := inside([]string{"TIDINGS_SERVER=http://" + address}, built.healthcheck[1:]...).CombinedOutput()
			return err == nil, string(out)
		})
		output(t, inside([]string{"TIDINGS_SERVER=http://" + address}, "/tidings", "ready", "--wait", patience.String()))
		server.end(syscall.SIGTERM)
		if code := server.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("SIGTERM ends it with %d", code)
		}
		if strings.Contains(server.wrote(), `"level":"WARN"`) {
			t.Errorf("it is not content with its secret: %s", server.wrote())
		}
		if !strings.Contains(server.wrote(), `+09:00","level":"INFO","msg":`) {
			t.Errorf("it does not know the time in Tokyo, or did not log as JSON: %s", server.wrote())
		}
	})
}
