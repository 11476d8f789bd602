package engine_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
)

// A runtime that gives up freezing thaws the container again: the next try is a new one.
func TestAPauseIsTriedAgainWhereTheKernelDoesNotFreezeInTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		answers []string // an empty one is success
		calls   int
		want    string
	}{
		{"it freezes at once", []string{""}, 1, ""},
		{"it freezes at the third try", []string{"unable to freeze: unknown", "unable to freeze: unknown", ""}, 3, ""},
		{"it never freezes", []string{"unable to freeze: unknown"}, 4, "unable to freeze"},
		{"another error is not tried again", []string{"container is not running"}, 1, "not running"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/containers/c1/json") { // whether it is paused all the same
					http.Error(w, "{}", http.StatusInternalServerError)
					return
				}
				answer := tc.answers[min(calls, len(tc.answers)-1)]
				calls++
				if answer == "" {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				http.Error(w, `{"message": "OCI runtime pause failed: `+answer+`"}`, http.StatusInternalServerError)
			}))
			defer srv.Close()
			docker, err := client.NewClientWithOpts(client.WithHost("tcp://"+strings.TrimPrefix(srv.URL, "http://")), client.WithVersion("1.41"))
			if err != nil {
				t.Fatal(err)
			}
			defer docker.Close()
			err = engine.New(docker).Do(t.Context(), "c1", faults.Action{Verb: faults.DoPause})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v", err)
			}
			if calls != tc.calls {
				t.Errorf("%d calls, want %d", calls, tc.calls)
			}
		})
	}
}
