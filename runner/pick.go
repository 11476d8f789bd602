package runner

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/scenarios"
)

// candidates lists what pick chooses from: single containers, whole services where the kind takes those, and links. A link
// that stands for several is one target where all are meant, for then it is one toxic's; else each of its edges is.
func candidates(s *scenarios.Scenario, f scenarios.Fault, services []scenarios.Service) []scenarios.Ref {
	refs := f.Select(services)
	if f.Pick != "" && f.Pick != "all" {
		refs = slices.DeleteFunc(refs, func(r scenarios.Ref) bool { return r.Link != "" })
		for _, l := range s.LinksOf(f, services) {
			refs = append(refs, scenarios.Ref{Service: l.To, Link: l.String()})
		}
	}
	if f.Spec.Whole {
		return sorted(refs)
	}
	return containersOf(refs, services)
}

// containersOf turns references to whole services into one reference for each replica; links stay as they are.
func containersOf(refs []scenarios.Ref, services []scenarios.Service) []scenarios.Ref {
	var out []scenarios.Ref
	for _, r := range refs {
		if r.Number > 0 || r.Link != "" {
			out = append(out, r)
			continue
		}
		replicas := 1
		for _, s := range services {
			if s.Name == r.Service {
				replicas = max(s.Replicas, 1)
			}
		}
		for n := range replicas {
			out = append(out, scenarios.Ref{Service: r.Service, Number: n + 1})
		}
	}
	return sorted(out)
}

func sorted(refs []scenarios.Ref) []scenarios.Ref {
	slices.SortFunc(refs, func(a, b scenarios.Ref) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), a.Number-b.Number, strings.Compare(a.Link, b.Link))
	})
	return slices.Compact(refs)
}

// share is how many of so many a pick chooses: a minority is the largest number below one half, at least one.
func share(how string, of int) int {
	switch how {
	case "one":
		return min(1, of)
	case "minority":
		return min(max((of-1)/2, 1), of)
	case "majority":
		return min(of/2+1, of)
	}
	return of
}

// pick chooses from the sorted candidates, and keeps their order. Where others have some of them too, apart tells how far
// away in time, and those that are far are chosen first; nil: nobody has. Where a follower is wanted it gives all
// candidates, in the order in which they are preferred.
func pick(all []scenarios.Ref, how string, apart func(scenarios.Ref) time.Duration, r *rand.Rand) []scenarios.Ref {
	n := share(how, len(all))
	if n == len(all) && how != scenarios.PickFollower {
		return all
	}
	chosen := make([]scenarios.Ref, 0, len(all))
	for _, i := range r.Perm(len(all)) {
		chosen = append(chosen, all[i])
	}
	if how == scenarios.PickFollower {
		return chosen
	}
	if apart != nil {
		slices.SortStableFunc(chosen, func(a, b scenarios.Ref) int { return cmp.Compare(apart(b), apart(a)) })
	}
	return sorted(chosen[:n])
}
