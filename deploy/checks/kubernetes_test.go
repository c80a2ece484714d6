package checks

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const manifests = "../kubernetes"

// decode reads a manifest as what Kubernetes takes it for. A field that there is not is an error.
func decode[T any](t *testing.T, file string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(readFile(t, filepath.Join(manifests, file))), object); err != nil {
		t.Fatalf("%s: %s", file, err)
	}
	return object
}

// kustomization is what is used of Kustomize's own file.
type kustomization struct {
	APIVersion         string                              `json:"apiVersion"`
	Kind               string                              `json:"kind"`
	Labels             []struct{ Pairs map[string]string } `json:"labels"`
	Resources          []string                            `json:"resources"`
	ConfigMapGenerator []struct {
		Name string
		Envs []string
	} `json:"configMapGenerator"`
	Images []struct{ Name, NewName, NewTag string } `json:"images"`
}

// serviceMonitor is what is used of the operator's.
type serviceMonitor struct {
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Metadata   struct{ Name string } `json:"metadata"`
	Spec       struct {
		Selector  struct{ MatchLabels map[string]string }
		Endpoints []struct{ Port, Path, Interval string }
	} `json:"spec"`
}

// settings are the variables of a file such as settings.env.
func settingsOf(text string) map[string]string {
	settings := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = value
		}
	}
	return settings
}

// The manifests have no field that Kubernetes does not know, and agree with each other and with the program.
func TestManifests(t *testing.T) {
	t.Parallel()
	deployment := decode[apps.Deployment](t, "deployment.yaml")
	service := decode[core.Service](t, "service.yaml")
	budget := decode[policy.PodDisruptionBudget](t, "disruption.yaml")
	scaler := decode[autoscaling.HorizontalPodAutoscaler](t, "autoscaler.yaml")
	network := decode[networking.NetworkPolicy](t, "network.yaml")
	job := decode[batch.Job](t, "migrate.yaml")
	secret := decode[core.Secret](t, "examples/secret.yaml")
	ingress := decode[networking.Ingress](t, "examples/ingress.yaml")
	monitor := decode[serviceMonitor](t, "examples/servicemonitor.yaml")
	whole := decode[kustomization](t, "kustomization.yaml")
	text := readFile(t, filepath.Join(manifests, "settings.env"))
	settings := settingsOf(text)

	for _, kind := range []struct{ got, want string }{
		{deployment.APIVersion + " " + deployment.Kind, "apps/v1 Deployment"}, {service.APIVersion + " " + service.Kind, "v1 Service"},
		{budget.APIVersion + " " + budget.Kind, "policy/v1 PodDisruptionBudget"}, {scaler.APIVersion + " " + scaler.Kind, "autoscaling/v2 HorizontalPodAutoscaler"},
		{network.APIVersion + " " + network.Kind, "networking.k8s.io/v1 NetworkPolicy"}, {job.APIVersion + " " + job.Kind, "batch/v1 Job"},
		{secret.APIVersion + " " + secret.Kind, "v1 Secret"}, {ingress.APIVersion + " " + ingress.Kind, "networking.k8s.io/v1 Ingress"},
		{monitor.APIVersion + " " + monitor.Kind, "monitoring.coreos.com/v1 ServiceMonitor"},
		{whole.APIVersion + " " + whole.Kind, "kustomize.config.k8s.io/v1beta1 Kustomization"},
	} {
		if kind.got != kind.want {
			t.Errorf("a manifest is of %s, want %s", kind.got, kind.want)
		}
	}
	for _, resource := range whole.Resources {
		if _, err := os.Stat(filepath.Join(manifests, resource)); err != nil {
			t.Error(err)
		}
	}

	pod := deployment.Spec.Template
	container := pod.Spec.Containers[0]
	checkSettings(t, "settings.env", text)
	for _, v := range slices.Concat(container.Env, job.Spec.Template.Spec.Containers[0].Env) {
		checkSettings(t, "a manifest", v.Name)
		if strings.HasSuffix(v.Name, "_FILE") {
			mount := container.VolumeMounts[0].MountPath + "/"
			if key, ok := strings.CutPrefix(v.Value, mount); !ok || secret.StringData[key] == "" {
				t.Errorf("%s is %s, which is not of the Secret at %s", v.Name, v.Value, mount)
			}
		}
	}
	if name := container.EnvFrom[0].ConfigMapRef.Name; name != whole.ConfigMapGenerator[0].Name || whole.ConfigMapGenerator[0].Envs[0] != "settings.env" {
		t.Errorf("the settings are of %s, and %s is made", name, whole.ConfigMapGenerator[0].Name)
	}
	if container.Image != whole.Images[0].Name || job.Spec.Template.Spec.Containers[0].Image != whole.Images[0].NewName+":"+whole.Images[0].NewTag {
		t.Error("the Deployment's image, the Job's and Kustomize's are not the same")
	}

	// Ports.
	ports := make(map[string]int32)
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	for name, setting := range map[string]string{"http": "TIDINGS_LISTEN", "admin": "TIDINGS_ADMIN_LISTEN"} {
		if want := fmt.Sprintf(":%d", ports[name]); settings[setting] != want {
			t.Errorf("%s is %q, and port %s of the container %q", setting, settings[setting], name, want)
		}
		if !slices.ContainsFunc(network.Spec.Ingress, func(rule networking.NetworkPolicyIngressRule) bool {
			return rule.Ports[0].Port.IntVal == ports[name]
		}) {
			t.Errorf("nobody may come to port %s", name)
		}
	}
	served := make(map[string]bool)
	for _, port := range service.Spec.Ports {
		served[port.Name] = true
		if ports[port.TargetPort.StrVal] == 0 {
			t.Errorf("the Service has port %s of the pods, which they have not", port.TargetPort.StrVal)
		}
	}
	backend := ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service
	if backend.Name != service.Name || !served[backend.Port.Name] || !served[monitor.Spec.Endpoints[0].Port] {
		t.Error("the Ingress or the ServiceMonitor has a port that the Service has not")
	}

	// Labels.
	labels := pod.Labels
	for name, value := range whole.Labels[0].Pairs {
		if labels[name] != value {
			t.Errorf("label %s of the pods is %q", name, labels[name])
		}
	}
	for where, selector := range map[string]map[string]string{
		"Deployment": deployment.Spec.Selector.MatchLabels, "Service": service.Spec.Selector, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels,
		"NetworkPolicy": network.Spec.PodSelector.MatchLabels,
	} {
		for name, value := range selector {
			if labels[name] != value {
				t.Errorf("the %s is of pods with %s=%s, and theirs is %q", where, name, value, labels[name])
			}
		}
	}
	for name, value := range service.Spec.Selector {
		if name != "app.kubernetes.io/name" && job.Spec.Template.Labels[name] == value {
			t.Error("the Service is of the migrating pod as well")
		}
	}
	if target := scaler.Spec.ScaleTargetRef; target.Kind != deployment.Kind || target.Name != deployment.Name || deployment.Spec.Replicas != nil {
		t.Errorf("the autoscaler is of %s %s, and the Deployment says %v itself", target.Kind, target.Name, deployment.Spec.Replicas)
	}

	// Security, and how it ends.
	for where, spec := range map[string]core.PodSpec{"Deployment": pod.Spec, "Job": job.Spec.Template.Spec} {
		security, own := spec.SecurityContext, spec.Containers[0].SecurityContext
		if !*security.RunAsNonRoot || fmt.Sprintf("%d:%d", *security.RunAsUser, *security.RunAsGroup) != builtImage(t).user {
			t.Errorf("%s: the user is not the image's", where)
		}
		if !*own.ReadOnlyRootFilesystem || *own.AllowPrivilegeEscalation || own.Capabilities.Drop[0] != "ALL" || *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks {
			t.Errorf("%s: it has more rights than it needs", where)
		}
		if spec.Containers[0].Resources.Limits.Memory().IsZero() || spec.Containers[0].Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s: there is no limit of memory, or no request of CPU", where)
		}
	}
	checkStop(t, "deployment.yaml", func(name string) string { return settings[name] }, time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second)
	ready := container.ReadinessProbe
	if delay, _ := time.ParseDuration(settings["TIDINGS_DRAIN_DELAY"]); delay < 2*time.Duration(ready.PeriodSeconds*ready.FailureThreshold)*time.Second {
		t.Errorf("readiness is asked every %d s, and clients move after %s", ready.PeriodSeconds, delay)
	}
	var limit int64
	if _, err := fmt.Sscanf(settings["GOMEMLIMIT"], "%dMiB", &limit); err != nil || limit<<20 > container.Resources.Limits.Memory().Value()*95/100 {
		t.Errorf("GOMEMLIMIT is %s, the limit %s", settings["GOMEMLIMIT"], container.Resources.Limits.Memory())
	}

	// The probes' paths, and the commands.
	postgres := startPostgres(t, freePort(t), "secret")
	database := "DATABASE_URL=" + postgres.database(t, "pods")
	migrate := exec.Command(program(t), job.Spec.Template.Spec.Containers[0].Args...)
	migrate.Env = environ(database)
	output(t, migrate)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	serve := exec.Command(program(t), container.Args...)
	serve.Env = environ(database, "TIDINGS_SECRET="+strings.Repeat("x", 32))
	for name, value := range settings {
		if name != "TIDINGS_LISTEN" && name != "TIDINGS_ADMIN_LISTEN" {
			serve.Env = append(serve.Env, name+"="+value)
		}
	}
	serve.Env = append(serve.Env, "TIDINGS_LISTEN="+address, "TIDINGS_DRAIN_DELAY=0s")
	server := start(t, serve)
	for _, probe := range []*core.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		if probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("a probe asks port %s", probe.HTTPGet.Port.String())
		}
		eventually(t, probe.HTTPGet.Path+" is 200", func() (bool, string) {
			response, err := http.Get("http://" + address + probe.HTTPGet.Path)
			if err != nil {
				return false, err.Error()
			}
			_ = response.Body.Close()
			return response.StatusCode == http.StatusOK, response.Status
		})
	}
	server.end(syscall.SIGTERM)
}

// Where kubectl is, it takes the whole of it.
func TestKustomize(t *testing.T) {
	t.Parallel()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is missing, which no package of this system brings")
	}
	out := []byte(output(t, exec.Command(kubectl, "kustomize", manifests)))
	if !bytes.Contains(out, []byte("name: tidings-settings-")) || bytes.Contains(out, []byte("image: tidings\n")) {
		t.Errorf("the settings' name does not follow from what is in them, or the image is not named: %s", out)
	}
}
