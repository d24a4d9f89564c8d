package main

// An old configuration as Promtail runs it for one container: its own file, read by its own YAML library, its jobs' rules by
// Prometheus' library, their stages by Promtail's, and the labels of the client.
//
// In: the text of the old file, and which of its jobs are meant. Out: what all of them send together. Knows nothing of the conversion.

import (
	"encoding/json"
	"fmt"
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
	Attach struct {
		Node      bool `yaml:"node"`
		Namespace bool `yaml:"namespace"`
	} `yaml:"attach_metadata"`
}

// finds tells whether this discovery gives pods a label of this name.
func (s sd) finds(name string) bool {
	name = strings.TrimPrefix(name, "__meta_kubernetes_")
	return (s.Attach.Node || !strings.HasPrefix(name, "node_")) && (s.Attach.Namespace || !strings.HasPrefix(name, "namespace_")) &&
		!strings.HasPrefix(name, "service_")
}

type static struct {
	Labels map[string]string `yaml:"labels"`
}

type client struct {
	External map[string]string `yaml:"external_labels"`
}

// fileLabel is the one that Promtail gives each line; Pilcrow has none.
const fileLabel = "filename"

func runMigration(asked request) answer {
	of := asked.Migration
	all, err := jobs(asked.Stages, of.Chart)
	if err != nil {
		return answer{Error: err.Error()}
	}
	result := answer{Entries: []output{}, Metrics: []series{}}
	for _, each := range all {
		result.Jobs = append(result.Jobs, each.Name)
	}
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
			if s.Pods[0].finds(name) {
				builder.Set(name, value)
			}
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
