// Loads files of rules for Loki's ruler as the ruler itself does, and parses the expressions that standard input has, one a
// line. Says what is wrong, each on a line, and ends with status 1 if anything is.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/grafana/loki/v3/pkg/logql/syntax"
	"github.com/grafana/loki/v3/pkg/ruler"
	"github.com/prometheus/common/model"
)

func main() {
	wrong, rules, expressions := 0, 0, 0
	complain := func(where string, err error) {
		wrong++
		fmt.Printf("%s: %v\n", where, err)
	}
	for _, file := range os.Args[1:] {
		groups, errs := ruler.GroupLoader{}.Load(file, false, model.LegacyValidation)
		for _, err := range errs {
			complain(file, err)
		}
		if groups == nil {
			continue
		}
		for _, group := range groups.Groups {
			rules += len(group.Rules)
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		expressions++
		if _, err := syntax.ParseExpr(lines.Text()); err != nil {
			complain(lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		complain("standard input", err)
	}
	if wrong > 0 {
		os.Exit(1)
	}
	fmt.Printf("Loki's own parser takes %d rules and %d expressions\n", rules, expressions)
}
