// Says what prometheus-operator makes of the objects for one Prometheus: its own selection, its own checks and its own generator. On standard input
// is a JSON list of the Prometheus itself and of ScrapeConfigs, PrometheusRules and Secrets in its namespace; printed are its configuration and its
// rules. Who is selected but refused, or names a Secret that is not there, is an error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/blang/semver/v4"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/operator"
	"github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	metrics "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"
)

// ruleFiles is the name of a ConfigMap with rules: the operator mounts it in /etc/prometheus/rules/.
const ruleFiles = "rules"

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	namespace, err := read(in)
	if err != nil {
		return err
	}
	configuration, err := namespace.configuration(context.Background())
	if err != nil {
		return err
	}
	rules, err := namespace.rules()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]any{"configuration": string(configuration), "rules": rules})
}

// namespace is what is in the one namespace that the Prometheus selects from.
type namespace struct {
	prometheus      *monitoringv1.Prometheus
	scrapeConfigs   []*monitoringv1alpha1.ScrapeConfig
	prometheusRules []*monitoringv1.PrometheusRule
	secrets         map[string]*corev1.Secret
}

func read(in io.Reader) (*namespace, error) {
	var documents []json.RawMessage
	if err := json.NewDecoder(in).Decode(&documents); err != nil {
		return nil, err
	}
	found := &namespace{secrets: map[string]*corev1.Secret{}}
	for _, document := range documents {
		var kind metav1.TypeMeta
		if err := json.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		var object any
		switch kind.Kind {
		case monitoringv1.PrometheusesKind:
			found.prometheus = &monitoringv1.Prometheus{}
			object = found.prometheus
		case monitoringv1alpha1.ScrapeConfigsKind:
			scrapeConfig := &monitoringv1alpha1.ScrapeConfig{}
			found.scrapeConfigs = append(found.scrapeConfigs, scrapeConfig)
			object = scrapeConfig
		case monitoringv1.PrometheusRuleKind:
			rule := &monitoringv1.PrometheusRule{}
			found.prometheusRules = append(found.prometheusRules, rule)
			object = rule
		case "Secret":
			object = &corev1.Secret{}
		default:
			return nil, fmt.Errorf("nothing is made of a %q", kind.Kind)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		if secret, ok := object.(*corev1.Secret); ok {
			found.secrets[secret.Name] = secret
		}
	}
	if found.prometheus == nil {
		return nil, errors.New("there is no Prometheus")
	}
	return found, nil
}

func (n *namespace) configuration(ctx context.Context) ([]byte, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	store := assets.NewStoreBuilder(nil, n)
	selector, err := prometheus.NewResourceSelector(
		logger, n.prometheus, store, nil, operator.NewMetrics(metrics.NewRegistry()), operator.NewFakeRecorder(len(n.scrapeConfigs), n.prometheus))
	if err != nil {
		return nil, err
	}
	list := func(namespace string, selector labels.Selector, appendFn cache.AppendFunc) error {
		for _, scrapeConfig := range n.scrapeConfigs {
			if scrapeConfig.Namespace == namespace && selector.Matches(labels.Set(scrapeConfig.Labels)) {
				appendFn(scrapeConfig)
			}
		}
		return nil
	}
	selected, err := selector.SelectScrapeConfigs(ctx, list)
	if err != nil {
		return nil, err
	}
	if valid := selected.ValidResources(); len(valid) != len(selected) || len(valid) == 0 {
		return nil, fmt.Errorf("of %d selected ScrapeConfigs %d are valid", len(selected), len(valid))
	}
	generator, err := prometheus.NewConfigGenerator(logger, n.prometheus)
	if err != nil {
		return nil, err
	}
	return generator.GenerateServerConfiguration(
		n.prometheus, nil, nil, nil, selected.ValidResources(), store, nil, nil, nil, []string{ruleFiles})
}

// rules gives the files of the selected PrometheusRules: each is the object's spec, once the operator's own check has taken it.
func (n *namespace) rules() (map[string]string, error) {
	selector, err := metav1.LabelSelectorAsSelector(n.prometheus.Spec.RuleSelector)
	if err != nil {
		return nil, err
	}
	version, err := semver.ParseTolerant(operator.StringValOrDefault(n.prometheus.Spec.Version, operator.DefaultPrometheusVersion))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, rule := range n.prometheusRules {
		if rule.Namespace != n.prometheus.Namespace || !selector.Matches(labels.Set(rule.Labels)) {
			continue
		}
		scheme := operator.ValidationSchemeForPrometheus(version)
		if err := errors.Join(operator.ValidateRule(rule.Spec, scheme, parser.Options{})...); err != nil {
			return nil, fmt.Errorf("PrometheusRule %s: %w", rule.Name, err)
		}
		text, err := yaml.Marshal(rule.Spec)
		if err != nil {
			return nil, err
		}
		files[rule.Name+".yaml"] = string(text)
	}
	if len(files) == 0 {
		return nil, errors.New("no PrometheusRule is selected")
	}
	return files, nil
}

// Secrets makes the namespace a reader of its own Secrets, which is all that the operator asks of an API here.
func (n *namespace) Secrets(name string) typedcorev1.SecretInterface {
	return secrets{namespace: n, name: name}
}

type secrets struct {
	typedcorev1.SecretInterface
	namespace *namespace
	name      string
}

func (s secrets) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	secret, ok := s.namespace.secrets[name]
	if !ok || secret.Namespace != s.name {
		return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
	}
	return secret, nil
}
