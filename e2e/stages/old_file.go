package main

// What an old file says, read by the YAML library that Promtail has: its jobs of pods with their clients, wherever they stand.

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	"gopkg.in/yaml.v2"
)

// variable is what `-config.expand-env` fills in, and Kubernetes in arguments. None is set where both sides run: each is a 1.
var variable = regexp.MustCompile(`\$\{[A-Z_][A-Z0-9_]*(:[^}]*)?\}|\$\([A-Z_]+\)`)

// bare is a variable of clients without braces.
var bare = regexp.MustCompile(`\$[A-Z_]+`)

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
	for _, document := range documents(text) {
		for index := range found {
			found[index].clients = withArguments(found[index].clients, argumentsIn(document))
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
	arguments, _ := values["extraArgs"].([]interface{})
	job.clients = withArguments(own, arguments)
	return found, nil
}

// withArguments adds the labels of Promtail's arguments, where the file has none of the name.
func withArguments(own []client, arguments []interface{}) []client {
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
	return own
}

// argumentsIn finds the arguments of Promtail's own pods.
func argumentsIn(at interface{}) []interface{} {
	var all []interface{}
	switch is := at.(type) {
	case []interface{}:
		for _, item := range is {
			all = append(all, argumentsIn(item)...)
		}
	case map[interface{}]interface{}:
		if list, ok := is["args"].([]interface{}); ok && strings.Contains(fmt.Sprint(is["image"]), "promtail") {
			return list
		}
		for _, item := range is {
			all = append(all, argumentsIn(item)...)
		}
	}
	return all
}
