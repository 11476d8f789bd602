package httpdriver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/httpdriver"
)

// bucket is a server of objects, and the most that it ever had.
type bucket struct {
	mu      sync.Mutex
	objects map[string]string
	most    int
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key := strings.TrimPrefix(r.URL.Path, "/objects/")
	b.mu.Lock()
	defer b.mu.Unlock()
	switch object, there := b.objects[key]; {
	case r.Method == http.MethodPut:
		b.objects[key] = string(body)
		b.most = max(b.most, len(b.objects))
	case r.Method == http.MethodDelete:
		delete(b.objects, key)
	case r.URL.Path == "/objects":
		for key := range b.objects {
			_, _ = io.WriteString(w, key+"\n")
		}
	case !there:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, object)
	}
}

// TestLiveKeys has many more keys than may be there: the server never has more, deletes make room, and the final read is of what was
// touched alone.
func TestLiveKeys(t *testing.T) {
	t.Parallel()
	b := &bucket{objects: map[string]string{}}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	const live = 12
	never := 0
	r := drivertest.Start(t, httpdriver.Spec(), workload.Config{Target: strings.TrimPrefix(server.URL, "http://"), Clients: 6}, httpdriver.Options{
		Model: "objects", Keys: workload.KeyOptions{Count: 100_000}, LiveKeys: live, LowWater: 0.5, Deletes: &never,
	})
	r.Wait(1000, ledger.OK)
	r.Finish()
	touched := map[string]bool{}
	for _, function := range []string{ledger.FuncPut, ledger.FuncDelete} {
		for _, op := range r.Ops(function, "") {
			touched[op.Key] = true
		}
	}
	final, wild := map[string]bool{}, 0
	end := r.Ops(ledger.FuncEnd, ledger.OK)[0]
	for _, op := range r.Ops(ledger.FuncGet, ledger.OK) {
		if op.Process == end.Process {
			final[op.Key] = true
			if !touched[op.Key] {
				wild++
			}
		}
	}
	if b.most > live || b.most < live/2 || r.Count(ledger.FuncDelete, ledger.OK) == 0 {
		t.Errorf("the server had up to %d objects, and may have %d; %d deletes", b.most, live, r.Count(ledger.FuncDelete, ledger.OK))
	}
	if len(final) != len(touched) || wild > 0 {
		t.Errorf("%d keys were touched, %d are read in the end, of which %d were not", len(touched), len(final), wild)
	}
	r.Judge("objects", nil)
}
