// Package catalogue lists every fault kind. The set is fixed at compile time.
package catalogue

import "github.com/discompose/discompose/faults"

// All lists every kind, sorted by family and name.
func All() []faults.Spec {
	return []faults.Spec{}
}

// Lookup finds a kind.
func Lookup(kind faults.Kind) (faults.Spec, bool) {
	for _, s := range All() {
		if s.Kind == kind {
			return s, true
		}
	}
	return faults.Spec{}, false
}
