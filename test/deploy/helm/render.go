// Renders the chart of docs/deploy/helm as Helm does: Go's templates with the functions of sprig and Helm's own.
// Neither Debian nor npm has Helm. Packages: golang-go golang-github-masterminds-sprig-dev.
// GOPATH=/usr/share/gocode GO111MODULE=off go run render.go <chart> <values that override>
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type values = map[string]interface{}

func read(path string) values {
	text, err := os.ReadFile(path)
	check(err)
	parsed := values{}
	check(yaml.Unmarshal(text, &parsed))
	return parsed
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Helm merges maps and replaces everything else.
func merge(base, over values) values {
	for name, value := range over {
		inner, isMap := value.(values)
		below, wasMap := base[name].(values)
		if isMap && wasMap {
			base[name] = merge(below, inner)
		} else {
			base[name] = value
		}
	}
	return base
}

func toYaml(value interface{}) string {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	check(encoder.Encode(value))
	return strings.TrimSuffix(out.String(), "\n")
}

func main() {
	chart := os.Args[1]
	about := read(filepath.Join(chart, "Chart.yaml"))
	data := values{
		"Values":  merge(read(filepath.Join(chart, "values.yaml")), read(os.Args[2])),
		"Release": values{"Name": "sponsor-vouchers", "Namespace": "tickets", "Service": "Helm"},
		"Chart":   values{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
	}
	root := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = toYaml
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	root.Funcs(functions)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	check(err)
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		_, err = root.New(filepath.Base(file)).Parse(string(text))
		check(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		var out strings.Builder
		if strings.HasPrefix(name, "_") {
			continue
		}
		check(root.ExecuteTemplate(&out, name, data))
		manifest := strings.TrimSpace(strings.ReplaceAll(out.String(), "<no value>", ""))
		if manifest != "" && name != "NOTES.txt" {
			fmt.Printf("---\n# %s\n%s\n", name, strings.TrimSpace(strings.TrimPrefix(manifest, "---")))
		}
	}
}
