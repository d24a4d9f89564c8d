package main

// An old configuration as Promtail runs it for one container: its own file, read by its own YAML library, its jobs' rules by
// Prometheus' library, their stages by Promtail's, and the labels of the client.
//
// In: the text of the old file, and which of its jobs are meant. Out: what all of them send together. Knows nothing of the conversion.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"gopkg.in/yaml.v2"
)

type migration struct {
	// The names of the jobs that are meant, each with its number among those of pods.
	Jobs []job `json:"jobs"`
	// What Promtail's chart renders where its values are the old file.
	Chart string `json:"chart"`
	// What the Kubernetes API and the name of the file say of the container.
	Discovered map[string]string `json:"discovered"`
	// The paths of the container's log.
	Paths []string `json:"paths"`
	// The runtime's word for the stream.
	Stream string `json:"stream"`
}

type job struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
}

type scrape struct {
	Name    string        `yaml:"job_name"`
	Stages  []interface{} `yaml:"pipeline_stages"`
	Rules   []*relabel.Config
	Static  []static `yaml:"static_configs"`
	Pods    []sd     `yaml:"kubernetes_sd_configs"`
	clients []client
}

type sd struct {
	Role       string `yaml:"role"`
	Namespaces struct {
		Names []string `yaml:"names"`
	} `yaml:"namespaces"`
}

type static struct {
	Labels map[string]string `yaml:"labels"`
}

type client struct {
	External map[string]string `yaml:"external_labels"`
}

// fileLabel is the one that Promtail gives each line; Pilcrow has none.
const fileLabel = "filename"

// variable is what `-config.expand-env` fills in, and Kubernetes in arguments. None is set where both sides run: each is a 1.
var variable = regexp.MustCompile(`\$\{[A-Z_][A-Z0-9_]*(:[^}]*)?\}|\$\([A-Z_]+\)`)

// bare is a variable of clients without braces.
var bare = regexp.MustCompile(`\$[A-Z_]+`)

func runMigration(asked request) answer {
	of := asked.Migration
	all, err := jobs(asked.Stages, of.Chart)
	if err != nil {
		return answer{Error: err.Error()}
	}
	result := answer{Entries: []output{}, Metrics: []series{}}
	for _, meant := range of.Jobs {
		if meant.Number >= len(all) || !strings.HasPrefix(meant.Name, all[meant.Number].Name) {
			return answer{Error: fmt.Sprintf("harness: no job %s is the one of number %d of %d", meant.Name, meant.Number, len(all))}
		}
		sent := all[meant.Number].run(asked)
		if sent.Error != "" {
			return sent
		}
		result.Selected = result.Selected || sent.Selected
		result.Entries = append(result.Entries, sent.Entries...)
		result.Metrics = append(result.Metrics, sent.Metrics...)
	}
	sort.SliceStable(result.Entries, func(i, j int) bool { return result.Entries[i].ID < result.Entries[j].ID })
	return result
}

func (s scrape) run(asked request) answer {
	of := asked.Migration
	given := s.target(of)
	if given == nil {
		return answer{Entries: []output{}, Metrics: []series{}}
	}
	format := recordFormat(s.Stages)
	entries := make([]input, 0, len(asked.Entries))
	for _, entry := range asked.Entries {
		entry.Labels = given
		entry.Line = record(format, entry, of.Stream)
		entry.Time = time.Now().UnixNano()
		entries = append(entries, entry)
	}
	text, err := yaml.Marshal(without(s.Stages, "geoip"))
	if err != nil {
		return answer{Error: err.Error()}
	}
	result := runStages(string(text), entries)
	result.Selected = true
	for index := range result.Entries {
		own := result.Entries[index].Labels
		delete(own, fileLabel)
		if len(s.clients) > 0 {
			for name, value := range s.clients[0].External {
				if _, ok := own[name]; !ok && value != "" {
					own[name] = value
				}
			}
		}
	}
	for index := range result.Metrics {
		delete(result.Metrics[index].Labels, fileLabel)
	}
	return result
}

// target gives the labels that the job's rules make for the container; nil if they leave it out.
func (s scrape) target(of *migration) map[string]string {
	builder := labels.NewBuilder(labels.EmptyLabels())
	path := of.Paths[0]
	if len(s.Pods) > 0 {
		namespaces := s.Pods[0].Namespaces.Names
		if len(namespaces) > 0 && !contains(namespaces, of.Discovered["__meta_kubernetes_namespace"]) {
			return nil
		}
		for name, value := range of.Discovered {
			builder.Set(name, value)
		}
	} else {
		named := false
		for _, files := range s.Static {
			if found, ok := files.names(of.Paths); ok && !named {
				named, path = true, found
				for name, value := range files.Labels {
					builder.Set(name, value)
				}
			}
		}
		if !named {
			return nil
		}
	}
	if !relabel.ProcessBuilder(builder, s.Rules...) {
		return nil
	}
	// Promtail reads nothing of what no rule gives a path; most examples leave these rules out.
	for _, rule := range s.Rules {
		if rule.TargetLabel == "__path__" && builder.Get("__path__") == "" {
			return nil
		}
	}
	node := of.Discovered["__meta_kubernetes_pod_node_name"]
	if host := builder.Get("__host__"); host != "" && host != node {
		return nil
	}
	given := map[string]string{fileLabel: path}
	builder.Range(func(label labels.Label) {
		if !strings.HasPrefix(label.Name, model.ReservedLabelPrefix) {
			given[label.Name] = label.Value
		}
	})
	return given
}

func (s static) names(paths []string) (string, bool) {
	for _, path := range paths {
		if matches(s.Labels["__path__"], path) && !matches(s.Labels["__path_exclude__"], path) {
			return path, true
		}
	}
	return "", false
}

func matches(glob, path string) bool {
	ok, err := doublestar.Match(glob, path)
	return err == nil && ok
}

func contains(list []string, wanted string) bool {
	for _, text := range list {
		if text == wanted {
			return true
		}
	}
	return false
}

// jobs reads those that collect logs of pods.
func jobs(text, chart string) ([]scrape, error) {
	var found []scrape
	if chart != "" {
		for _, document := range documents(text) {
			if err, ok := document.(unreadable); ok {
				return nil, err
			}
			if values := valuesIn(document); values != nil {
				return ofChart(chart, values)
			}
		}
		return ofChart(chart, nil)
	}
	for _, document := range documents(text) {
		if err := configs(document, nil, &found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// documents reads all of a file; what is no YAML is none.
func documents(text string) []interface{} {
	var all []interface{}
	decoder := yaml.NewDecoder(strings.NewReader(variable.ReplaceAllString(text, "1")))
	for {
		var document interface{}
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			return append(all, unreadable{err})
		}
		all = append(all, document)
	}
}

// unreadable stands for a document that this library refuses.
type unreadable struct{ error }

// configs finds configurations wherever they stand: alone, in a ConfigMap or Secret, or below the Agent's `logs`.
func configs(at interface{}, shared []client, found *[]scrape) error {
	switch is := at.(type) {
	case unreadable:
		return is
	case string:
		if strings.Contains(is, "scrape_configs:") {
			for _, document := range documents(is) {
				if _, ok := document.(string); !ok {
					if err := configs(document, shared, found); err != nil {
						return err
					}
				}
			}
		}
	case []interface{}:
		for _, item := range is {
			if err := configs(item, shared, found); err != nil {
				return err
			}
		}
	case map[interface{}]interface{}:
		if global, ok := is["global"].(map[interface{}]interface{}); ok && is["configs"] != nil {
			if own, err := clients(global); err != nil {
				return err
			} else if own != nil {
				shared = own
			}
		}
		if list, ok := is["scrape_configs"].([]interface{}); ok {
			own, err := clients(is)
			if err != nil {
				return err
			}
			if own == nil {
				own = shared
			}
			return scrapes(list, own, found)
		}
		keys := make([]string, 0, len(is))
		for key := range is {
			keys = append(keys, fmt.Sprint(key))
		}
		sort.Strings(keys)
		for _, key := range keys {
			if err := configs(is[key], shared, found); err != nil {
				return err
			}
		}
	}
	return nil
}

func clients(config map[interface{}]interface{}) ([]client, error) {
	if one, ok := config["client"]; ok && config["clients"] == nil {
		config["clients"] = []interface{}{one}
	}
	var all []client
	err := decode(config["clients"], &all)
	for _, one := range all {
		for name, value := range one.External {
			one.External[name] = bare.ReplaceAllString(value, "1")
		}
	}
	return all, err
}

func scrapes(list []interface{}, own []client, found *[]scrape) error {
	for _, item := range list {
		var read scrape
		if err := decode(item, &read); err != nil {
			return err
		}
		pods := len(read.Pods) > 0 && read.Pods[0].Role == "pod"
		for _, files := range read.Static {
			path := files.Labels["__path__"]
			pods = pods || strings.HasPrefix(path, "/var/log/pods/") || strings.HasPrefix(path, "/var/log/containers/")
		}
		if !pods {
			continue
		}
		fields, _ := item.(map[interface{}]interface{})
		rules, err := rulesOf(fields["relabel_configs"])
		if err != nil {
			return err
		}
		read.Rules, read.clients = rules, own
		*found = append(*found, read)
	}
	return nil
}

func rulesOf(list interface{}) ([]*relabel.Config, error) {
	var rules []*relabel.Config
	if err := decode(list, &rules); err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if err := rule.Validate(model.UTF8Validation); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

func decode(from, to interface{}) error {
	text, err := yaml.Marshal(from)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, to)
}

// valuesIn finds the values of Promtail's chart, also where they are a part or a text of something else.
func valuesIn(at interface{}) map[interface{}]interface{} {
	switch is := at.(type) {
	case string:
		if strings.Contains(is, "\n") {
			for _, document := range documents(is) {
				if found := valuesIn(document); found != nil {
					return found
				}
			}
		}
	case []interface{}:
		for _, item := range is {
			if found := valuesIn(item); found != nil {
				return found
			}
		}
	case map[interface{}]interface{}:
		if config, ok := is["config"].(map[interface{}]interface{}); ok && (config["clients"] != nil || config["snippets"] != nil || is["extraArgs"] != nil) {
			return is
		}
		for _, item := range is {
			if found := valuesIn(item); found != nil {
				return found
			}
		}
	}
	return nil
}

// ofChart puts a chart's values into what it renders by default.
func ofChart(rendered string, values map[interface{}]interface{}) ([]scrape, error) {
	config, _ := values["config"].(map[interface{}]interface{})
	var found []scrape
	if err := configs(documents(rendered)[0], nil, &found); err != nil {
		return nil, err
	}
	job := &found[0]
	if snippets, ok := config["snippets"].(map[interface{}]interface{}); ok {
		if list, ok := snippets["pipelineStages"].([]interface{}); ok {
			job.Stages = list
		}
		more, err := rulesOf(snippets["extraRelabelConfigs"])
		if err != nil {
			return nil, err
		}
		job.Rules = append(job.Rules, more...)
	}
	own, err := clients(config)
	if err != nil {
		return nil, err
	}
	// Promtail adds those of its arguments where the file has none of the name.
	arguments, _ := values["extraArgs"].([]interface{})
	for _, argument := range arguments {
		_, list, ok := strings.Cut(fmt.Sprint(argument), "client.external-labels=")
		if !ok {
			continue
		}
		if len(own) == 0 {
			own = []client{{}}
		}
		for _, pair := range strings.Split(list, ",") {
			name, value, _ := strings.Cut(pair, "=")
			if own[0].External == nil {
				own[0].External = map[string]string{}
			}
			if _, ok := own[0].External[name]; !ok {
				own[0].External[name] = value
			}
		}
	}
	job.clients = own
	return found, nil
}

// without takes stages out, nested ones included.
func without(list []interface{}, name string) []interface{} {
	var rest []interface{}
	for _, item := range list {
		stage, ok := item.(map[interface{}]interface{})
		if ok && len(stage) == 1 && stage[name] != nil {
			continue
		}
		for _, settings := range stage {
			if fields, ok := settings.(map[interface{}]interface{}); ok {
				if nested, ok := fields["stages"].([]interface{}); ok {
					fields["stages"] = without(nested, name)
				}
			}
		}
		rest = append(rest, item)
	}
	return rest
}

// recordFormat tells which runtime's records stages expect: docker's where they have its stage, or take the key `log` of a JSON
// object.
func recordFormat(list []interface{}) string {
	for _, item := range list {
		stage, _ := item.(map[interface{}]interface{})
		if _, ok := stage["docker"]; ok {
			return "docker"
		}
		if settings, ok := stage["json"].(map[interface{}]interface{}); ok {
			expressions, _ := settings["expressions"].(map[interface{}]interface{})
			for name, path := range expressions {
				if path == "log" || path == nil && name == "log" {
					return "docker"
				}
			}
		}
	}
	return "cri"
}

func record(format string, entry input, stream string) []byte {
	at := time.Unix(0, entry.Time).UTC().Format(time.RFC3339Nano)
	if format == "docker" {
		// Which cannot fail, of texts.
		text, _ := json.Marshal(map[string]string{"log": string(entry.Line), "stream": stream, "time": at})
		return text
	}
	return append([]byte(at+" "+stream+" F "), entry.Line...)
}
