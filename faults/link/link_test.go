package link_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/link"
	"github.com/discompose/discompose/internal/units"
)

var on = faults.Target{Service: "db", Number: 1, Link: "web->db:5432", Name: "web->db:5432"}

func ptr[T any](v T) *T { return &v }

const ms = units.Duration(time.Millisecond)

func TestValidateNamesTheKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   faults.Fault
		keys []string
	}{
		{"latency", &link.Latency{Delay: 100 * ms, Jitter: 100 * ms}, nil},
		{"latency without a delay", &link.Latency{}, []string{"delay"}},
		{"latency in half milliseconds", &link.Latency{Delay: 3 * ms / 2}, []string{"delay"}},
		{"jitter above the delay", &link.Latency{Delay: ms, Jitter: 2 * ms}, []string{"jitter"}},
		{"jitter in half milliseconds", &link.Latency{Delay: 5 * ms, Jitter: ms / 2}, []string{"jitter"}},
		{"more than Toxiproxy can count", &link.Latency{Delay: units.Duration(31 * 24 * time.Hour)}, []string{"delay"}},
		{"every problem is told", &link.Latency{Scope: link.Scope{Direction: "down", Toxicity: ptr(0.0)}}, []string{"direction", "toxicity", "delay"}},
		{"bandwidth", &link.Bandwidth{Rate: 1_000_000}, nil},
		{"bandwidth without a rate", &link.Bandwidth{}, []string{"rate"}},
		{"bandwidth below 1 KB/s", &link.Bandwidth{Rate: 4_000}, []string{"rate"}},
		{"bandwidth between two KB/s", &link.Bandwidth{Rate: 12_000}, []string{"rate"}},
		{"bandwidth beyond counting", &link.Bandwidth{Rate: math.MaxInt64 / 8000 * 8000}, []string{"rate"}},
		{"slow_close", &link.SlowClose{Delay: ms}, nil},
		{"slow_close without a delay", &link.SlowClose{}, []string{"delay"}},
		{"timeout by default", &link.Timeout{}, nil},
		{"timeout in half milliseconds", &link.Timeout{After: ms / 2}, []string{"timeout"}},
		{"reset_peer by default", &link.ResetPeer{}, nil},
		{"reset_peer in half milliseconds", &link.ResetPeer{After: ms / 2}, []string{"timeout"}},
		{"slicer", &link.Slicer{AverageSize: 2, SizeVariation: 1, Delay: ms / 1000}, nil},
		{"slicer without a size", &link.Slicer{}, []string{"average_size"}},
		{"slicer that varies by all of it", &link.Slicer{AverageSize: 2, SizeVariation: 2}, []string{"size_variation"}},
		{"slicer in nanoseconds", &link.Slicer{AverageSize: 2, Delay: 1}, []string{"delay"}},
		{"limit_data of nothing", &link.LimitData{Bytes: ptr(units.Size(0))}, nil},
		{"limit_data without a limit", &link.LimitData{}, []string{"bytes"}},
		{"down", &link.Down{}, nil},
		{"any share", &link.Timeout{Scope: link.Scope{Direction: "both", Toxicity: ptr(1.0)}}, nil},
		{"no connection at all", &link.Timeout{Scope: link.Scope{Toxicity: ptr(0.0)}}, []string{"toxicity"}},
		{"more than every connection", &link.Timeout{Scope: link.Scope{Toxicity: ptr(1.01)}}, []string{"toxicity"}},
		{"a share that is no number", &link.Timeout{Scope: link.Scope{Toxicity: ptr(math.NaN())}}, []string{"toxicity"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var keys []string
			for _, e := range flatten(tt.in.Validate()) {
				var pe *faults.ParamError
				if !errors.As(e, &pe) || pe.Hint == "" {
					t.Fatalf("%v is no ParamError with a hint", e)
				}
				keys = append(keys, pe.Key)
			}
			if !slices.Equal(keys, tt.keys) {
				t.Errorf("keys %v: %v", keys, tt.in.Validate())
			}
		})
	}
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

func TestDirectionsAreTheEnum(t *testing.T) {
	f := &link.Timeout{}
	for _, f.Direction = range faulttest.Enum(t, f, "direction") {
		if err := f.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// scripted is a link whose state a test writes.
type scripted struct {
	state   faults.LinkState
	err     error
	added   []faults.Toxic
	removed []string
}

func (s *scripted) AddToxic(_ context.Context, _ string, t faults.Toxic) error {
	s.added = append(s.added, t)
	return s.err
}

func (s *scripted) RemoveToxic(_ context.Context, _, name string) error {
	s.removed = append(s.removed, name)
	return s.err
}

func (s *scripted) Disable(context.Context, string, string) error { return s.err }
func (s *scripted) Enable(context.Context, string, string) error  { return s.err }

func (s *scripted) State(context.Context, string) (faults.LinkState, error) { return s.state, s.err }

// capable is a host that can route links.
type capable struct{}

func (capable) Call(context.Context, string, any, any) error { return errors.New("no call is needed") }

func (capable) Facts() faults.Facts {
	return faults.Facts{Has: []faults.Capability{faults.CapAgent, faults.CapPackets, faults.CapLinks}}
}

// start prepares, journals and applies a fault on a scripted link.
func start(t *testing.T, s *scripted, kind faults.Kind, id string, f faults.Fault) (faults.Env, faults.Effect, faults.Record) {
	t.Helper()
	env := faults.Env{Host: capable{}, Links: s, Journal: &faults.State{}}
	r, err := f.Prepare(t.Context(), env, on)
	if err != nil {
		t.Fatal(err)
	}
	r.ID = id
	i := slices.IndexFunc(specs(), func(s faults.Spec) bool { return s.Kind == kind })
	e := specs()[i].Effect
	if err := errors.Join(env.Journal.Intend(r), e.Apply(t.Context(), env, r)); err != nil {
		t.Fatal(err)
	}
	return env, e, r
}

func TestToxicsAreToxiproxys(t *testing.T) {
	one := func(kind, stream string, attributes map[string]any) []faults.Toxic {
		return []faults.Toxic{{Name: "slow~2.web-~db~5432", Type: kind, Stream: stream, Toxicity: 1, Attributes: attributes}}
	}
	half := map[string]any{"timeout": int64(0)}
	for _, tt := range []struct {
		kind faults.Kind
		f    faults.Fault
		want []faults.Toxic
	}{
		{"latency", &link.Latency{Delay: 2000 * ms, Jitter: 5 * ms}, one("latency", "downstream", map[string]any{"latency": int64(2000), "jitter": int64(5)})},
		{"bandwidth", &link.Bandwidth{Rate: 1_000_000}, one("bandwidth", "downstream", map[string]any{"rate": int64(125)})},
		{"slow_close", &link.SlowClose{Delay: 7 * ms, Scope: link.Scope{Direction: "downstream"}}, one("slow_close", "downstream", map[string]any{"delay": int64(7)})},
		{"timeout", &link.Timeout{After: 1000 * ms}, one("timeout", "downstream", map[string]any{"timeout": int64(1000)})},
		{"reset_peer", &link.ResetPeer{Scope: link.Scope{Direction: "upstream"}}, one("reset_peer", "upstream", map[string]any{"timeout": int64(0)})},
		{"slicer", &link.Slicer{AverageSize: 64, SizeVariation: 8, Delay: ms}, one("slicer", "downstream", map[string]any{"average_size": int64(64), "size_variation": int64(8), "delay": int64(1000)})},
		{"limit_data", &link.LimitData{Bytes: ptr(units.Size(1 << 10))}, one("limit_data", "downstream", map[string]any{"bytes": int64(1024)})},
		{"timeout", &link.Timeout{Scope: link.Scope{Direction: "both", Toxicity: ptr(0.25)}}, []faults.Toxic{
			{Name: "slow~2.web-~db~5432_upstream", Type: "timeout", Stream: "upstream", Toxicity: 0.25, Attributes: half},
			{Name: "slow~2.web-~db~5432_downstream", Type: "timeout", Stream: "downstream", Toxicity: 0.25, Attributes: half},
		}},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			s := &scripted{state: faults.LinkState{Enabled: true}}
			env, e, r := start(t, s, tt.kind, "slow#2/web->db:5432", tt.f)
			if diff := cmp.Diff(tt.want, s.added); diff != "" {
				t.Errorf("toxics (-want +got):\n%s", diff)
			}
			if err := e.Revert(t.Context(), env, r); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, x := range tt.want {
				names = append(names, x.Name)
			}
			if !slices.Equal(s.removed, names) {
				t.Errorf("removed %v, added %v", s.removed, names)
			}
		})
	}
}

func TestAnErrorOfTheProxyIsTold(t *testing.T) {
	broken := errors.New("stream ended")
	s := &scripted{}
	env, e, r := start(t, s, "latency", "a", &link.Latency{Delay: ms})
	s.err = broken
	_, confirm := e.Confirm(t.Context(), env, r, true)
	_, gone := e.Confirm(t.Context(), env, r, false)
	for what, err := range map[string]error{"apply": e.Apply(t.Context(), env, r), "revert": e.Revert(t.Context(), env, r), "confirm": confirm, "gone": gone} {
		if !errors.Is(err, broken) || errors.Is(err, faults.ErrNoWitness) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestPrepareRefusesWhatIsNoRoutedLink(t *testing.T) {
	routed := &scripted{}
	for name, tt := range map[string]struct {
		env faults.Env
		on  faults.Target
	}{
		"no capability": {faults.Env{Links: routed}, on},
		"no proxies":    {faults.Env{Host: capable{}}, on},
		"a service":     {faults.Env{Host: capable{}, Links: routed}, faults.Target{Service: "db", Container: "c1"}},
		"no such link":  {faults.Env{Host: capable{}, Links: &scripted{err: faults.ErrNoLink}}, on},
	} {
		for _, f := range []faults.Fault{&link.Latency{Delay: ms}, &link.Down{}, &link.LimitData{Bytes: ptr(units.Size(1))}} {
			if _, err := f.Prepare(t.Context(), tt.env, tt.on); !errors.Is(err, faults.ErrUnsupported) {
				t.Errorf("%s: prepare %T: %v", name, f, err)
			}
		}
	}
}

// confirm looks for a witness for a second of a bubble's time.
func confirm(t *testing.T, env faults.Env, e faults.Effect, r faults.Record, active bool) (w faults.Witness, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w, err = e.Confirm(ctx, env, r, active)
	})
	return w, err
}

func TestAWitnessIsWhatTheProxyDidToTraffic(t *testing.T) {
	const long = 250 * time.Millisecond
	worked := faults.ToxicState{Acted: 9, ChunksIn: 9, ChunksOut: 9, BytesIn: 900, BytesOut: 900, Ends: 9}
	half := link.Scope{Toxicity: ptr(0.5)}
	latency, some := &link.Latency{Delay: 200 * ms, Jitter: 50 * ms}, &link.Latency{Delay: 200 * ms, Scope: half}
	erratic := &link.Latency{Delay: 200 * ms, Jitter: 200 * ms}
	bandwidth, someBandwidth := &link.Bandwidth{Rate: 80_000}, &link.Bandwidth{Rate: 80_000, Scope: half}
	rate := func(bytes int64, busy time.Duration) faults.LinkFlow {
		return faults.LinkFlow{BusyBytes: bytes, BusyTime: busy, Rate: float64(bytes) / busy.Seconds()}
	}
	for _, tt := range []struct {
		name string
		kind faults.Kind
		f    faults.Fault
		did  faults.ToxicState
		flow faults.LinkFlow
		want string // part of the witness's note, or of the error's text after "no: "
	}{
		{"delayed", "latency", latency, worked, faults.LinkFlow{Samples: 3, Residence: 160 * time.Millisecond, Longest: long}, "median residence of 3 chunks is 160ms"},
		{"no connection", "latency", latency, faults.ToxicState{}, faults.LinkFlow{}, "no: web->db:5432 downstream had no connection in 4s"},
		{"no byte", "latency", latency, faults.ToxicState{Acted: 3}, faults.LinkFlow{}, "no: no byte crossed web->db:5432 downstream in 4s"},
		{"too few", "latency", latency, worked, faults.LinkFlow{Samples: 2, Residence: long, Longest: long}, "no: web->db:5432 downstream: median residence of 2 chunks"},
		{"not delayed", "latency", latency, worked, faults.LinkFlow{Samples: 9, Residence: 149 * time.Millisecond, Longest: long}, "no: web->db:5432 downstream: median"},
		{"delayed by others", "latency", latency, faults.ToxicState{Acted: 1, ChunksIn: 1}, faults.LinkFlow{Samples: 9, Residence: long, Longest: long}, "no: web->db:5432 downstream: nothing has passed"},
		{"jitter hides no delay at all", "latency", erratic, worked, faults.LinkFlow{Samples: 9, Residence: time.Millisecond, Longest: 2 * time.Millisecond}, "no: "},
		{"jitter", "latency", erratic, worked, faults.LinkFlow{Samples: 9, Residence: time.Millisecond, Longest: long}, "median residence"},
		{"some delayed", "latency", some, worked, faults.LinkFlow{Samples: 9, Residence: time.Millisecond, Longest: long}, "9 connections drawn, and the longest residence of 9 chunks is 250ms"},
		{"none drawn", "latency", some, faults.ToxicState{}, faults.LinkFlow{Samples: 9, Longest: long}, "no: no connection of web->db:5432 downstream was drawn in 4s, at a toxicity of 0.5"},
		{"drawn and not delayed", "latency", some, worked, faults.LinkFlow{Samples: 9, Longest: time.Millisecond}, "no: web->db:5432 downstream: the longest residence"},

		{"slowed", "bandwidth", bandwidth, worked, rate(10_500, time.Second), "10500 bytes per second where 10000 are allowed"},
		{"too fast", "bandwidth", bandwidth, worked, rate(11_001, time.Second), "no: "},
		{"too short", "bandwidth", bandwidth, worked, rate(2_900, 290*time.Millisecond), "no: web->db:5432 downstream: connections had more to send for 290ms only"},
		{"a slow receiver", "bandwidth", bandwidth, worked, rate(4_900, time.Second), "no: web->db:5432 downstream: connections carried 4900 bytes per second with 10000 allowed"},
		{"some slowed", "bandwidth", someBandwidth, faults.ToxicState{Acted: 1, ChunksIn: 9, BytesOut: 9_000}, rate(900_000, time.Second), "9000 bytes took 1s"},
		{"some not slowed", "bandwidth", someBandwidth, faults.ToxicState{Acted: 1, ChunksIn: 9, BytesOut: 900_000}, rate(900_000, time.Second), "no: "},

		{"an end held", "slow_close", &link.SlowClose{Delay: ms}, worked, faults.LinkFlow{}, "the ends of 9 connections were held for 1ms"},
		{"no end", "slow_close", &link.SlowClose{Delay: ms}, faults.ToxicState{Acted: 1, ChunksIn: 1, ChunksOut: 1}, faults.LinkFlow{}, "no: web->db:5432 downstream: no end of stream"},

		{"swallowed", "timeout", &link.Timeout{}, faults.ToxicState{Acted: 1, ChunksIn: 1, BytesIn: 7}, faults.LinkFlow{}, "7 bytes of 1 connection went in and none came out"},
		{"swallowed and closed", "timeout", &link.Timeout{After: ms}, faults.ToxicState{Acted: 1, ChunksIn: 1, BytesIn: 7, FIN: 1}, faults.LinkFlow{}, "closed 1 connection after 1ms"},
		{"bytes pass", "timeout", &link.Timeout{After: ms}, worked, faults.LinkFlow{}, "no: web->db:5432 downstream: 900 of 900 bytes came out"},
		{"no byte to swallow", "timeout", &link.Timeout{}, faults.ToxicState{Acted: 1}, faults.LinkFlow{}, "no: no byte crossed"},

		{"reset", "reset_peer", &link.ResetPeer{}, faults.ToxicState{Acted: 1, ChunksIn: 1, RST: 1}, faults.LinkFlow{}, "the toxic reset 1 connection"},
		{"not reset", "reset_peer", &link.ResetPeer{}, worked, faults.LinkFlow{}, "no: web->db:5432 downstream: the toxic had 9 connections and reset none"},

		{"sliced", "slicer", &link.Slicer{AverageSize: 10}, faults.ToxicState{Acted: 1, ChunksIn: 1, ChunksOut: 4, BytesOut: 40}, faults.LinkFlow{}, "1 piece went in and 4 came out, of 10 bytes on average"},
		{"small anyway", "slicer", &link.Slicer{AverageSize: 1000}, worked, faults.LinkFlow{}, "no: web->db:5432 downstream: 9 pieces went in and 9 came out"},

		{"limited", "limit_data", &link.LimitData{Bytes: ptr(units.Size(10))}, faults.ToxicState{Acted: 1, ChunksIn: 1, FIN: 1}, faults.LinkFlow{}, "closed 1 connection after 10 bytes"},
		{"cut off as the sender ended", "limit_data", &link.LimitData{Bytes: ptr(units.Size(10))}, faults.ToxicState{Acted: 9, ChunksIn: 9, BytesIn: 900, BytesOut: 90, Ends: 9}, faults.LinkFlow{}, "of 900 bytes of 9 connections only 90 passed, where each may pass 10"},
		{"more than the limit passed", "limit_data", &link.LimitData{Bytes: ptr(units.Size(10))}, faults.ToxicState{Acted: 9, ChunksIn: 9, BytesIn: 900, BytesOut: 91, Ends: 9}, faults.LinkFlow{}, "no: "},
		{"a chunk on its way", "limit_data", &link.LimitData{Bytes: ptr(units.Size(1000))}, faults.ToxicState{Acted: 1, ChunksIn: 9, BytesIn: 900, BytesOut: 800}, faults.LinkFlow{}, "no: "},
		{"below the limit", "limit_data", &link.LimitData{Bytes: ptr(units.Size(1000))}, worked, faults.LinkFlow{}, "no: web->db:5432 downstream: 900 bytes of 9 connections passed"},
	} {
		t.Run(string(tt.kind)+" "+tt.name, func(t *testing.T) {
			s := &scripted{}
			env, e, r := start(t, s, tt.kind, "a", tt.f)
			now := time.Now()
			tt.did.Name, tt.did.Stream, tt.did.Active, tt.flow.Since = "a", "downstream", true, now.Add(-4*time.Second)
			s.state = faults.LinkState{Enabled: true, Downstream: tt.flow, Toxics: []faults.ToxicState{tt.did}, At: now}
			w, err := confirm(t, env, e, r, true)
			why, none := strings.CutPrefix(tt.want, "no: ")
			switch {
			case none && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), why)):
				t.Errorf("witness %+v, error %v", w, err)
			case !none && (err != nil || !strings.Contains(w.Note, why) || w.Value == 0 || w.Unit == ""):
				t.Errorf("witness %+v, error %v", w, err)
			}
			s.state.Toxics[0].Active = false // as after a removal that somebody else made
			if w, err := confirm(t, env, e, r, true); !errors.Is(err, faults.ErrNoWitness) {
				t.Errorf("the toxic is not there and the witness is %+v, %v", w, err)
			}
		})
	}
}

func TestOneLookIsNoWitness(t *testing.T) {
	s := &flicker{}
	env, e, r := start(t, &s.scripted, "slicer", "a", &link.Slicer{AverageSize: 100})
	env.Links = s
	if w, err := confirm(t, env, e, r, true); !errors.Is(err, faults.ErrNoWitness) {
		t.Errorf("chunks that are counted out before they are counted in are a witness: %+v, %v", w, err)
	}
}

// flicker is a link whose counters are ahead of each other in every second look.
type flicker struct {
	scripted
	looks int64
}

func (f *flicker) State(context.Context, string) (faults.LinkState, error) {
	f.looks++
	return faults.LinkState{Toxics: []faults.ToxicState{{
		Name: "a", Stream: "downstream", Active: true, Acted: 1, ChunksIn: f.looks/2 + 1, ChunksOut: (f.looks+1)/2 + 1, BytesOut: 1,
	}}}, nil
}

func TestBothDirectionsNeedAWitness(t *testing.T) {
	s := &scripted{}
	env, e, r := start(t, s, "timeout", "a", &link.Timeout{Scope: link.Scope{Direction: "both"}})
	up := faults.ToxicState{Name: "a_upstream", Stream: "upstream", Active: true, Acted: 1, ChunksIn: 1, BytesIn: 7}
	down := faults.ToxicState{Name: "a_downstream", Stream: "downstream", Active: true, Acted: 1}
	s.state.Toxics = []faults.ToxicState{up, down}
	if w, err := confirm(t, env, e, r, true); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), "downstream") {
		t.Errorf("one direction is enough: %+v, %v", w, err)
	}
	down.ChunksIn, down.BytesIn = 1, 9
	s.state.Toxics = []faults.ToxicState{up, down}
	w, err := confirm(t, env, e, r, true)
	both(t, w, err)
	t.Run("at different times", func(t *testing.T) {
		env.Links = &turns{}
		w, err := confirm(t, env, e, r, true)
		both(t, w, err)
	})
}

func both(t *testing.T, w faults.Witness, err error) {
	t.Helper()
	if err != nil || !strings.Contains(w.Note, "upstream: 7 bytes") || !strings.Contains(w.Note, "downstream: 9 bytes") {
		t.Errorf("witness %+v, error %v", w, err)
	}
}

// turns is a link on which each direction shows for three looks in turn.
type turns struct {
	scripted
	looks int64
}

func (f *turns) State(context.Context, string) (faults.LinkState, error) {
	f.looks++
	up := f.looks / 3 % 2
	return faults.LinkState{Toxics: []faults.ToxicState{
		{Name: "a_upstream", Stream: "upstream", Active: true, Acted: 1, ChunksIn: 1, BytesIn: 7 * up},
		{Name: "a_downstream", Stream: "downstream", Active: true, Acted: 1, ChunksIn: 1, BytesIn: 9 * (1 - up)},
	}}, nil
}

func TestGoneIsMeasured(t *testing.T) {
	own := faults.ToxicState{Name: "a", Stream: "downstream", Acted: 12}
	other := faults.ToxicState{Name: "b", Stream: "downstream", Active: true, Acted: 1}
	away := other
	away.Stream = "upstream"
	active := own
	active.Active = true
	for _, tt := range []struct {
		name   string
		toxics []faults.ToxicState
		flow   faults.LinkFlow
		want   string
	}{
		{"nothing held", []faults.ToxicState{own}, faults.LinkFlow{}, "latency is off web->db:5432, where 12 connections had it; no byte is held"},
		{"still there", []faults.ToxicState{active}, faults.LinkFlow{}, "no: toxic a is still on web->db:5432"},
		{"not given back", []faults.ToxicState{own}, faults.LinkFlow{Chained: 3}, "no: 3 connections of web->db:5432 had no toxic and were not given back"},
		{"a receiver that does not read", []faults.ToxicState{own}, faults.LinkFlow{Chained: 1, Held: 4096}, "4096 bytes wait for a receiver that does not read"},
		{"another toxic holds them", []faults.ToxicState{other, own}, faults.LinkFlow{Chained: 3, Held: 9}, "beside it: 1 other toxic"},
		{"another toxic in the other direction does not", []faults.ToxicState{away, own}, faults.LinkFlow{Chained: 3}, "no: 3 connections"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &scripted{}
			env, e, r := start(t, s, "latency", "a", &link.Latency{Delay: ms})
			s.state = faults.LinkState{Enabled: true, Downstream: tt.flow, Toxics: tt.toxics}
			var w faults.Witness
			var err error
			synctest.Test(t, func(t *testing.T) { w, err = e.Confirm(t.Context(), env, r, false) })
			why, none := strings.CutPrefix(tt.want, "no: ")
			switch {
			case none && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), why)):
				t.Errorf("witness %+v, error %v", w, err)
			case !none && (err != nil || !strings.Contains(w.Note, why)):
				t.Errorf("witness %+v, error %v", w, err)
			}
		})
	}
}

func TestDown(t *testing.T) {
	closed := func(by string, n int64) []faults.LinkClosed {
		return []faults.LinkClosed{{By: by, Type: by, How: "fin", Count: n}}
	}
	for _, tt := range []struct {
		name   string
		active bool
		state  faults.LinkState
		beside string // the id of another active down
		want   string
	}{
		{"closed", true, faults.LinkState{Closed: closed("down", 7)}, "", "web->db:5432 is down: 2 connections closed and 0 refused"},
		{"refused", true, faults.LinkState{Closed: closed("down", 5), Refused: 4}, "", "0 connections closed and 1 refused"},
		{"no connection since", true, faults.LinkState{Closed: closed("down", 5), Refused: 3}, "", "no: web->db:5432 is down, but no connection was open and none was tried"},
		{"closed by something else", true, faults.LinkState{Closed: append(closed("down", 5), closed("a", 9)...), Refused: 3}, "", "no: "},
		{"accepts", true, faults.LinkState{Enabled: true, Closed: closed("down", 7)}, "", "no: web->db:5432 accepts connections"},
		{"up", false, faults.LinkState{Enabled: true, Closed: closed("down", 7), Refused: 9}, "", "web->db:5432 is up again, after 2 connections closed and 6 refused"},
		{"still down", false, faults.LinkState{}, "", "no: web->db:5432 is still down"},
		{"still down by this one", false, faults.LinkState{Disabled: []string{"a", "b"}}, "b", "no: "},
		{"down by one on a wider link", false, faults.LinkState{Disabled: []string{"w"}}, "", "down by another fault only"},
		{"down by another", false, faults.LinkState{}, "b", "down by another fault only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &scripted{state: faults.LinkState{Enabled: true, Closed: closed("down", 5), Refused: 3}}
			env, e, r := start(t, s, "down", "a", &link.Down{})
			s.state = tt.state
			if tt.beside != "" {
				if err := env.Journal.Intend(faults.Record{ID: tt.beside, Kind: "down", On: on}); err != nil {
					t.Fatal(err)
				}
			}
			w, err := confirm(t, env, e, r, tt.active)
			why, none := strings.CutPrefix(tt.want, "no: ")
			switch {
			case none && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), why)):
				t.Errorf("witness %+v, error %v", w, err)
			case !none && (err != nil || !strings.Contains(w.Note, why)):
				t.Errorf("witness %+v, error %v", w, err)
			}
		})
	}
}
