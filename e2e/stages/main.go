// Promtail's own pipeline stages behind standard input and output: what they make of entries is what Pilcrow's are compared with.
//
// In: one JSON object a line, a pipeline as YAML (or an old configuration, migration.go) and the entries for it. Out: one JSON object a line, in the same order: the
// error of the pipeline, or the entries that left it with everything about them, and all metrics. Each request has a pipeline,
// a registry and a state of its own. Knows nothing of Pilcrow.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v2"

	"github.com/grafana/loki/v3/clients/pkg/logentry/stages"
	"github.com/grafana/loki/v3/clients/pkg/promtail/api"
	"github.com/grafana/loki/v3/pkg/logproto"
)

// idKey tells in `extracted` which entry of the request an entry was: multiline keeps its first line's, and nothing else
// touches it.
const idKey = "zz_oracle_entry_number"

type input struct {
	Labels   map[string]string `json:"labels"`
	Line     []byte            `json:"line"`
	Time     int64             `json:"time"`
	Metadata [][2]string       `json:"metadata"`
}

type request struct {
	// A list of stages; with `migration` an old configuration.
	Stages    string     `json:"stages"`
	Entries   []input    `json:"entries"`
	Migration *migration `json:"migration"`
}

type value struct {
	Kind string `json:"kind"`
	Text []byte `json:"text"`
}

type output struct {
	ID        int               `json:"id"`
	Labels    map[string]string `json:"labels"`
	Line      []byte            `json:"line"`
	Time      int64             `json:"time"`
	Metadata  [][2]string       `json:"metadata"`
	Extracted map[string]value  `json:"extracted"`
}

type series struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Value  string            `json:"value"`
}

type answer struct {
	Error   string   `json:"error,omitempty"`
	Entries []output `json:"entries"`
	Metrics []series `json:"metrics"`
	// Of a migration: whether the rules keep the container.
	Selected bool `json:"selected"`
	// Of a migration: the names of all jobs that collect logs of pods.
	Jobs []string `json:"jobs,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			fmt.Fprintln(os.Stderr, "not a request:", err)
			os.Exit(1)
		}
		if err := encoder.Encode(run(asked)); err != nil {
			fmt.Fprintln(os.Stderr, "cannot answer:", err)
			os.Exit(1)
		}
		// Whoever asks many at once shall not wait for each.
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				os.Exit(1)
			}
		}
	}
}

func run(asked request) answer {
	if asked.Migration != nil {
		return runMigration(asked)
	}
	return runStages(asked.Stages, asked.Entries)
}

func runStages(list string, entries []input) (result answer) {
	registry := prometheus.NewRegistry()
	pipeline, err := compile(list, registry)
	if err != nil {
		return answer{Error: err.Error()}
	}
	in := make(chan stages.Entry)
	out := pipeline.Run(in)
	go func() {
		defer close(in)
		for id, entry := range entries {
			in <- asEntry(id, entry)
		}
	}()
	result.Entries = []output{}
	for entry := range out {
		result.Entries = append(result.Entries, asOutput(entry))
	}
	sort.SliceStable(result.Entries, func(i, j int) bool { return result.Entries[i].ID < result.Entries[j].ID })
	result.Metrics, err = gather(registry)
	if err != nil {
		result.Error = "metrics: " + err.Error()
	}
	pipeline.Cleanup()
	return result
}

// compile turns also what the library panics at into an error.
func compile(text string, registry *prometheus.Registry) (pipeline *stages.Pipeline, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	var list []interface{}
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		return nil, err
	}
	return stages.NewPipeline(log.NewNopLogger(), list, nil, registry)
}

func asEntry(id int, entry input) stages.Entry {
	labels := model.LabelSet{}
	for name, value := range entry.Labels {
		labels[model.LabelName(name)] = model.LabelValue(value)
	}
	var metadata []logproto.LabelAdapter
	for _, pair := range entry.Metadata {
		metadata = append(metadata, logproto.LabelAdapter{Name: pair[0], Value: pair[1]})
	}
	return stages.Entry{
		Extracted: map[string]interface{}{idKey: id},
		Entry: api.Entry{
			Labels: labels,
			Entry:  logproto.Entry{Timestamp: time.Unix(0, entry.Time), Line: string(entry.Line), StructuredMetadata: metadata},
		},
	}
}

func asOutput(entry stages.Entry) output {
	result := output{
		ID:        -1,
		Labels:    map[string]string{},
		Line:      []byte(entry.Line),
		Time:      entry.Timestamp.UnixNano(),
		Metadata:  [][2]string{},
		Extracted: map[string]value{},
	}
	if id, ok := entry.Extracted[idKey].(int); ok {
		result.ID = id
	}
	for name, value := range entry.Labels {
		result.Labels[string(name)] = string(value)
	}
	for _, pair := range entry.StructuredMetadata {
		result.Metadata = append(result.Metadata, [2]string{pair.Name, pair.Value})
	}
	for name, extracted := range entry.Extracted {
		if name == idKey {
			continue
		}
		switch is := extracted.(type) {
		case nil:
			result.Extracted[name] = value{Kind: "null"}
		case string:
			result.Extracted[name] = value{Kind: "text", Text: []byte(is)}
		case float64:
			result.Extracted[name] = value{Kind: "number", Text: []byte(strconv.FormatFloat(is, 'f', -1, 64))}
		case bool:
			result.Extracted[name] = value{Kind: "bool", Text: []byte(strconv.FormatBool(is))}
		default:
			result.Extracted[name] = value{Kind: fmt.Sprintf("%T", is)}
		}
	}
	return result
}

func gather(registry *prometheus.Registry) ([]series, error) {
	families, err := registry.Gather()
	all := []series{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range metric.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			all = append(all, series{Name: family.GetName(), Labels: labels, Value: number(metric)})
		}
	}
	return all, err
}

func number(metric *dto.Metric) string {
	text := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	switch {
	case metric.Counter != nil:
		return text(metric.Counter.GetValue())
	case metric.Gauge != nil:
		return text(metric.Gauge.GetValue())
	case metric.Histogram != nil:
		result := fmt.Sprintf("count %d sum %s", metric.Histogram.GetSampleCount(), text(metric.Histogram.GetSampleSum()))
		for _, bucket := range metric.Histogram.GetBucket() {
			result += fmt.Sprintf(" %s:%d", text(bucket.GetUpperBound()), bucket.GetCumulativeCount())
		}
		return result
	}
	return "unknown"
}
