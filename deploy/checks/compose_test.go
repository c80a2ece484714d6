package checks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose makes the secrets in a copy of deploy, and loads the compose file there as docker compose does.
func loadCompose(t *testing.T) (*types.Project, string) {
	t.Helper()
	dir := directory(t)
	for _, folder := range []string{"compose", "caddy", "prometheus", "grafana"} {
		from := filepath.Join("..", folder)
		if _, err := os.Stat(from); os.IsNotExist(err) {
			continue
		}
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, "/secrets/") {
				return err
			}
			relative, _ := filepath.Rel("..", path)
			return copyFile(path, filepath.Join(dir, relative))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	compose := filepath.Join(dir, "compose")
	output(t, exec.Command(filepath.Join(compose, "secrets.sh")))
	options, err := cli.NewProjectOptions([]string{filepath.Join(compose, "compose.yaml")}, cli.WithWorkingDirectory(compose))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project, dir
}

// The compose file is valid, by the library that docker compose has itself, and what it names is there.
func TestCompose(t *testing.T) {
	t.Parallel()
	project, dir := loadCompose(t)
	var names []string
	for name, service := range project.Services {
		names = append(names, name)
		if service.HealthCheck == nil || !service.HealthCheck.Disable && len(service.HealthCheck.Test) < 2 {
			t.Errorf("%s has no healthcheck", name)
		}
		if service.Deploy == nil || service.Deploy.Resources.Limits == nil || service.Deploy.Resources.Limits.MemoryBytes == 0 {
			t.Errorf("%s has no limit of memory", name)
		}
		if service.Logging == nil || service.Logging.Driver != "local" {
			t.Errorf("%s keeps its logs for ever", name)
		}
		if _, tag, tagged := strings.Cut(service.Image, ":"); !tagged || tag == "latest" {
			t.Errorf("%s: its image %s has no version", name, service.Image)
		}
		for key := range service.Environment {
			if strings.HasPrefix(service.Image, "tidings:") {
				checkSettings(t, name, key)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && !strings.HasPrefix(volume.Source, dir) {
				t.Errorf("%s: %s is not of deploy", name, volume.Source)
			}
			if _, err := os.Stat(volume.Source); volume.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %s", name, err)
			}
		}
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(repository, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %s", name, err)
			}
		}
		if len(service.Command) > 0 && service.Command[0] == "serve" {
			checkStop(t, name, func(setting string) string { return *service.Environment[setting] }, time.Duration(*service.StopGracePeriod))
		}
	}
	slices.Sort(names)
	if want := []string{"grafana", "migrate", "postgres", "prometheus", "proxy", "redis", "tidings-1", "tidings-2"}; !slices.Equal(names, want) {
		t.Errorf("the services are %v, want %v", names, want)
	}
	for name, secret := range project.Secrets {
		info, err := os.Stat(secret.File)
		if err != nil {
			t.Errorf("secrets.sh does not make %s: %s", name, err)
		} else if info.Mode().Perm() != 0o444 || info.Size() < 32 {
			t.Errorf("secret %s has mode %s and %d bytes", name, info.Mode(), info.Size())
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "compose/secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of secrets: %v, %v", info.Mode(), err)
	}

	// Grafana's figures come from the Prometheus that is here, and the dashboard is where it looks.
	datasource := readFile(t, filepath.Join(dir, "compose/grafana.yaml"))
	if !strings.Contains(datasource, "url: http://prometheus:9090\n") {
		t.Errorf("Grafana has its figures from elsewhere: %s", datasource)
	}
	folder := regexp.MustCompile(`path: (\S+)`).FindStringSubmatch(readFile(t, filepath.Join(dir, "grafana/provisioning/dashboards/tidings.yaml")))
	if !slices.ContainsFunc(project.Services["grafana"].Volumes, func(v types.ServiceVolumeConfig) bool {
		return folder != nil && v.Target == folder[1]+"/tidings.json"
	}) {
		t.Errorf("Grafana looks for dashboards in %v, and there is none", folder)
	}

	before := readFile(t, filepath.Join(dir, "compose/secrets/database_url"))
	output(t, exec.Command(filepath.Join(dir, "compose/secrets.sh")))
	if readFile(t, filepath.Join(dir, "compose/secrets/database_url")) != before {
		t.Error("secrets.sh, run again, has made other secrets")
	}
}

// bare runs the services of a compose file on this machine: what is told them of containers – names of hosts, ports, paths – is
// told them as it is here.
type bare struct {
	t        *testing.T
	project  *types.Project
	dir      string
	ports    map[string]map[string]int // by service and its own port
	postgres *postgres
	running  map[string]*process
}

// own are the ports of each service's program, in its container.
var own = map[string][]string{
	"postgres": {"5432"}, "redis": {"6379"}, "tidings-1": {"8080", "9090"}, "tidings-2": {"8080", "9090"}, "migrate": nil,
	"proxy": {"80", "2019"}, "prometheus": {"9090"},
}

// here translates a text of a service: a host and its port, a port of its own, a path.
func (b *bare) here(service, text string) string {
	for other, ports := range b.ports {
		for port, mapped := range ports {
			text = strings.ReplaceAll(text, other+":"+port, fmt.Sprintf("127.0.0.1:%d", mapped))
		}
	}
	for port, mapped := range b.ports[service] {
		for _, host := range []string{"127.0.0.1", "localhost"} {
			text = strings.ReplaceAll(text, host+":"+port, fmt.Sprintf("127.0.0.1:%d", mapped))
		}
		if text == ":"+port {
			text = fmt.Sprintf("127.0.0.1:%d", mapped)
		}
	}
	text = strings.ReplaceAll(text, "/run/secrets/", filepath.Join(b.dir, "secrets", service)+"/")
	for _, volume := range b.project.Services[service].Volumes {
		if strings.HasPrefix(text, volume.Target) || strings.Contains(text, "="+volume.Target) {
			text = strings.Replace(text, volume.Target, b.volume(service, volume), 1)
		}
	}
	if text == "/tidings" {
		text = program(b.t)
	}
	return text
}

// volume is what a volume is here: a new directory, or a copy of what is mounted, translated.
func (b *bare) volume(service string, volume types.ServiceVolumeConfig) string {
	b.t.Helper()
	to := filepath.Join(b.dir, "volumes", service, volume.Target)
	if volume.Type != types.VolumeTypeBind {
		if err := os.MkdirAll(to, 0o755); err != nil {
			b.t.Fatal(err)
		}
		return to
	}
	err := filepath.WalkDir(volume.Source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text := readFile(b.t, path)
		for other, ports := range b.ports {
			for port, mapped := range ports {
				text = strings.ReplaceAll(text, other+":"+port, fmt.Sprintf("127.0.0.1:%d", mapped))
			}
		}
		text = strings.ReplaceAll(text, "/run/secrets/", filepath.Join(b.dir, "secrets", service)+"/")
		relative, _ := filepath.Rel(volume.Source, path)
		writeFile(b.t, filepath.Join(to, relative), text)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return to
}

func (b *bare) environment(service string) []string {
	env := environ("HOME="+b.dir, "XDG_CONFIG_HOME="+b.dir, "XDG_DATA_HOME="+b.dir)
	if b.project.Services[service].Build != nil {
		env = append(env, builtImage(b.t).env...)
	}
	for name, value := range b.project.Services[service].Environment {
		if value != nil {
			env = append(env, name+"="+b.here(service, *value))
		}
	}
	return env
}

// up starts a service, once what it depends on is as far as it says.
func (b *bare) up(service string) {
	b.t.Helper()
	if b.running[service] != nil || service == "postgres" && b.postgres != nil {
		return
	}
	config := b.project.Services[service]
	for _, name := range config.GetDependencies() {
		b.up(name)
		switch condition := config.DependsOn[name].Condition; condition {
		case types.ServiceConditionHealthy:
			b.awaitHealthy(name)
		case types.ServiceConditionCompletedSuccessfully:
			<-b.running[name].ended
			if code := b.running[name].cmd.ProcessState.ExitCode(); code != 0 {
				b.t.Fatalf("%s ends with %d: %s", name, code, b.running[name].wrote())
			}
		default:
			b.t.Fatalf("%s depends on %s as %q, which is not known here", service, name, condition)
		}
	}
	for _, secret := range config.Secrets {
		text := readFile(b.t, b.project.Secrets[secret.Source].File)
		file := writeFile(b.t, filepath.Join(b.dir, "secrets", service, secret.Source), b.here(service, text))
		if config.Build != nil { // as it is not /run/secrets
			if err := os.Chmod(file, 0o400); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	args := make([]string, 0, len(config.Command))
	for _, arg := range config.Command {
		args = append(args, b.here(service, arg))
	}
	// What each image adds by itself.
	var cmd *exec.Cmd
	image, _, _ := strings.Cut(config.Image, ":")
	switch image {
	case "postgres":
		password := strings.TrimSpace(readFile(b.t, filepath.Join(b.dir, "secrets", service, "postgres_password")))
		var scripts []string
		for _, volume := range config.Volumes {
			if strings.HasPrefix(volume.Target, "/docker-entrypoint-initdb.d/") {
				script := strings.ReplaceAll(readFile(b.t, volume.Source), "/run/secrets/", filepath.Join(b.dir, "secrets", service)+"/")
				scripts = append(scripts, writeFile(b.t, filepath.Join(b.dir, "scripts", filepath.Base(volume.Target)), script))
			}
		}
		b.postgres = startPostgres(b.t, b.ports[service]["5432"], password, scripts...)
		return
	case "redis":
		cmd = exec.Command(need(b.t, args[0]), append(args[1:], "--port", fmt.Sprint(b.ports[service]["6379"]), "--bind", "127.0.0.1")...)
	case "tidings":
		cmd = exec.Command(program(b.t), args...)
	case "caddy":
		cmd = exec.Command(need(b.t, "caddy"), "run", "--adapter", "caddyfile", "--config", b.here(service, "/etc/caddy/Caddyfile"))
	case "prom/prometheus":
		cmd = exec.Command(need(b.t, "prometheus"), append(args, fmt.Sprintf("--web.listen-address=127.0.0.1:%d", b.ports[service]["9090"]))...)
	default:
		b.t.Fatalf("%s: what its image %s does is not known here", service, config.Image)
	}
	cmd.Env, cmd.Dir = b.environment(service), b.dir
	b.running[service] = start(b.t, cmd)
}

// awaitHealthy runs a service's healthcheck until it succeeds.
func (b *bare) awaitHealthy(service string) {
	b.t.Helper()
	check := b.project.Services[service].HealthCheck
	args := slices.Clone([]string(check.Test[1:]))
	if check.Test[0] == "CMD-SHELL" {
		args = append([]string{"sh", "-c"}, args...)
	}
	for i := range args {
		args[i] = b.here(service, args[i])
		args[i] = strings.ReplaceAll(args[i], "redis-cli ", fmt.Sprintf("redis-cli -p %d ", b.ports["redis"]["6379"]))
	}
	eventually(b.t, service+" is healthy", func() (bool, string) {
		ctx, cancel := context.WithTimeout(b.t.Context(), patience)
		defer cancel()
		run := exec.CommandContext(ctx, args[0], args[1:]...)
		run.Env = append(b.environment(service), fmt.Sprintf("PGPORT=%d", b.ports["postgres"]["5432"]))
		if address := b.ports[service]["8080"]; address != 0 {
			run.Env = append(run.Env, fmt.Sprintf("TIDINGS_SERVER=http://127.0.0.1:%d", address))
		}
		out, err := run.CombinedOutput()
		return err == nil, fmt.Sprintf("%v: %v, %s", args, err, out)
	})
}

// The services' own commands, environments and healthchecks, run on this machine in the order that the file says: a row that psql writes
// comes through the proxy from both instances, and Prometheus has asked them. Grafana is the one that is not run.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redis-server", "redis-cli", "caddy", "prometheus", "wget"} {
		need(t, name)
	}
	project, _ := loadCompose(t)
	b := &bare{t: t, project: project, dir: directory(t), ports: make(map[string]map[string]int), running: make(map[string]*process)}
	for service, ports := range own {
		b.ports[service] = make(map[string]int)
		for _, port := range ports {
			b.ports[service][port] = freePort(t)
		}
	}
	// The proxy's ports are not in an address, but what a scheme means, and what Caddy's own interface has.
	front, admin := fmt.Sprintf("127.0.0.1:%d", b.ports["proxy"]["80"]), fmt.Sprintf("127.0.0.1:%d", b.ports["proxy"]["2019"])
	if site := project.Services["proxy"].Environment["SITE_ADDRESS"]; site == nil || *site != "http://" {
		t.Fatalf("the proxy's address is %v", site)
	}
	site := "http://" + front
	project.Services["proxy"].Environment["SITE_ADDRESS"] = &site
	project.Services["proxy"].Environment["CADDY_ADMIN"] = &admin

	for _, service := range []string{"proxy", "prometheus"} {
		b.up(service)
		b.awaitHealthy(service)
	}

	password := strings.TrimSpace(readFile(t, project.Secrets["live_password"].File))
	database := b.postgres.url("live", "live", password)
	b.postgres.sql(t, database, `create table things (id int primary key)`, `do $$ begin perform tidings.watch('things', read => 'public'); end $$`)
	if got := b.postgres.sql(t, database, `select rolsuper from pg_roles where rolname = current_user`); got != "f" {
		t.Errorf("is the instances' role a superuser? %q", got)
	}
	var rows struct{ Cursor string }
	response, err := http.Get("http://" + front + "/channels/things")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&rows); err != nil {
		t.Fatal(err)
	}
	all := followers(t, "http://"+front, nil, 2, rows.Cursor)
	b.postgres.sql(t, database, `insert into things select generate_series(1, 3)`)
	expectAll(t, all, 3)
	for _, instance := range []string{"tidings-1", "tidings-2"} {
		if connectionsOf(t, fmt.Sprintf("127.0.0.1:%d", b.ports[instance]["8080"])) == 0 {
			t.Errorf("%s has no clients", instance)
		}
	}

	eventually(t, "one instance reads for both", func() (bool, string) {
		var roles []string
		for _, instance := range []string{"tidings-1", "tidings-2"} {
			response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", b.ports[instance]["8080"]))
			if err != nil {
				return false, err.Error()
			}
			var health struct{ Redis string }
			_ = json.NewDecoder(response.Body).Decode(&health)
			_ = response.Body.Close()
			roles = append(roles, health.Redis)
		}
		slices.Sort(roles)
		return slices.Equal(roles, []string{"following", "leading"}), strings.Join(roles, ", ")
	})
	redis := exec.Command(need(t, "redis-cli"), "-p", fmt.Sprint(b.ports["redis"]["6379"]), "ping")
	secret, err := url.Parse(strings.TrimSpace(readFile(t, project.Secrets["redis_url"].File)))
	if err != nil {
		t.Fatal(err)
	}
	word, _ := secret.User.Password()
	redis.Env = environ("REDISCLI_AUTH=" + word)
	if got := output(t, redis); strings.TrimSpace(got) != "PONG" {
		t.Errorf("Redis answers %q to the password that the instances have", got)
	}

	b.expectScraped()

	for _, instance := range []string{"tidings-1", "tidings-2"} {
		b.running[instance].end(syscall.SIGTERM)
		if code := b.running[instance].cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s: SIGTERM ends it with %d", instance, code)
		}
		for _, word := range []string{`"level":"WARN"`, `"level":"ERROR"`, password, word} {
			if bytes.Contains([]byte(b.running[instance].wrote()), []byte(word)) {
				t.Errorf("%s has logged %s: %s", instance, word, b.running[instance].wrote())
			}
		}
	}
}

// expectScraped waits until Prometheus has asked both instances.
func (b *bare) expectScraped() {
	b.t.Helper()
	eventually(b.t, "Prometheus has asked both instances", func() (bool, string) {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api/v1/query?query=%s", b.ports["prometheus"]["9090"], url.QueryEscape(`up{job="tidings"}`)))
		if err != nil {
			return false, err.Error()
		}
		defer response.Body.Close()
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
				}
			}
		}
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return false, err.Error()
		}
		up := 0
		for _, result := range answer.Data.Result {
			if result.Value[1] == "1" {
				up++
			}
		}
		return up == 2, fmt.Sprintf("%v", answer.Data.Result)
	})
}
