package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Kind is one kind of [[check]] in a scenario.
type Kind struct {
	Name    string
	Summary string // what it promises, in a clause
	// New returns a pointer to the checker: a struct whose fields are its options, with toml and json names and the tags of
	// the scenario language (doc, default, enum). The zero value of an option is its default. Where options can contradict
	// each other it has Validate() error, whose errors begin with "key: ".
	New    func() Checker
	Probes bool // it may judge a probe instead of a workload
	// Whole says that the checker judges by all that was done: operations that are not recorded may explain anything that it
	// finds but wrong bytes. Of the others they explain only values that nobody is known to have written.
	Whole bool
}

// Kinds lists every kind in the order of the references.
func Kinds() []Kind {
	return []Kind{
		{Name: "append", Summary: "transactions over lists are isolated, and what they appended stays", New: func() Checker { return &Append{} }},
		{Name: "bank", Summary: "the total of all balances never changes, and transfers count once", New: func() Checker { return &Bank{} }, Whole: true},
		{Name: "counter", Summary: "every acknowledged increment counts, once, and nothing else", New: func() Checker { return &Counter{} }, Whole: true},
		{Name: "log", Summary: "no acknowledged record lost, none duplicated, order kept in each partition", New: func() Checker { return &Log{} }},
		{Name: "objects", Summary: "every acknowledged object is there, as it was put last, with all its bytes; a deleted one does not come back; lists agree", New: func() Checker { return &Objects{} }, Whole: true},
		{Name: "queue", Summary: "every acknowledged value is handed out, once, and nothing else", New: func() Checker { return &Queue{} }},
		{Name: "register", Summary: "every key is linearizable: reads show what was written last, swaps happen only where the value matches", New: func() Checker { return &Register{} }, Whole: true},
		{Name: "set", Summary: "every acknowledged element is there, once, and nothing else", New: func() Checker { return &Set{} }},
		{Name: "unique-ids", Summary: "no id is handed out twice", New: func() Checker { return &UniqueIDs{} }},
	}
}

// Checkers maps every kind to its checker with default options.
func Checkers() map[string]Checker {
	out := map[string]Checker{}
	for _, k := range Kinds() {
		out[k.Name] = k.New()
	}
	return out
}

// NewChecker makes the checker that a rule names, with the rule's options. rules are those of the run, for checkers that
// look at faults. An unknown kind or option is an error.
func NewChecker(rule CheckRule, rules Rules) (Checker, error) {
	kinds := Kinds()
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == rule.Kind })
	if i < 0 {
		return nil, fmt.Errorf("this build has no checker %q", rule.Kind)
	}
	c := kinds[i].New()
	if len(rule.Options) > 0 && string(rule.Options) != "null" {
		d := json.NewDecoder(bytes.NewReader(rule.Options))
		d.DisallowUnknownFields()
		if err := d.Decode(c); err != nil {
			return nil, fmt.Errorf("read the options of the %s check of %s: %w", rule.Kind, rule.Workload, err)
		}
	}
	if v, ok := c.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return nil, fmt.Errorf("options of the %s check of %s: %w", rule.Kind, rule.Workload, err)
		}
	}
	if r, ok := c.(interface{ under(rules Rules) }); ok {
		r.under(rules)
	}
	return c, nil
}
