package s3_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/s3"
)

func TestWhatAnErrorProves(t *testing.T) {
	t.Parallel()
	answer := func(status int, code string) error { return minio.ErrorResponse{StatusCode: status, Code: code} }
	for _, c := range []struct {
		name string
		err  error
		sent bool
		want ledger.Outcome
	}{
		{"none", nil, true, ledger.OK},
		{"no connection", context.DeadlineExceeded, false, ledger.Failed},
		{"denied", answer(403, "AccessDenied"), true, ledger.Failed},
		{"no bucket", answer(404, "NoSuchBucket"), true, ledger.Failed},
		{"too many requests", answer(429, "TooManyRequests"), true, ledger.Failed},
		{"slow down", answer(503, "SlowDown"), true, ledger.Unknown},
		{"starting", answer(503, "XMinioServerNotInitialized"), true, ledger.Failed},
		{"no write quorum", answer(503, "SlowDownWrite"), true, ledger.Unknown},
		{"internal", answer(500, "InternalError"), true, ledger.Unknown},
		{"conflict", answer(409, "OperationAborted"), true, ledger.Unknown},
		{"full", answer(507, "XMinioStorageFull"), true, ledger.Unknown},
		{"deadline", context.DeadlineExceeded, true, ledger.Unknown},
		{"something else", errors.New("EOF"), true, ledger.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, _ := s3.Outcome(c.err, func() bool { return c.sent }); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestReadsAreCheckedByteByByte serves an object and changes of it.
func TestReadsAreCheckedByteByByte(t *testing.T) {
	t.Parallel()
	const size = 1000
	right := s3.Body("a", 7, size)
	wrong := append([]byte{}, right...)
	wrong[500] ^= 1
	for _, c := range []struct {
		name     string
		body     []byte
		metadata int64
		whole    bool // a get of it all finds it right
		part     bool // a get of its first bytes does
	}{
		{"as it was put", right, 7, true, true},
		{"a flipped bit", wrong, 7, false, true},
		{"cut off", right[:size-1], 7, false, true},
		{"another generation's metadata", right, 8, false, false},
		{"another key's body", s3.Body("b", 7, size), 7, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Amz-Meta-Generation", strconv.FormatInt(c.metadata, 10))
				w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
				w.Header().Set("ETag", `"1"`)
				if r.Header.Get("Range") != "" {
					w.Header().Set("Content-Range", "bytes 8-99/"+strconv.Itoa(len(c.body)))
					w.WriteHeader(http.StatusPartialContent)
					_, _ = w.Write(c.body[8:100])
					return
				}
				_, _ = w.Write(c.body)
			}))
			defer server.Close()
			s, err := s3.Connect(t.Context(), strings.TrimPrefix(server.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for data, good := range map[string]bool{"": c.whole, `{"range":[8,100]}`: c.part} {
				op := ledger.Op{Func: ledger.FuncGet, Key: "a", Data: data}
				outcome, err := s.Do(t.Context(), &op)
				if outcome != ledger.OK || op.Value != c.metadata || (op.Sum == 0) != good {
					t.Errorf("%s: %s, %v: generation %d, sum %d", data, outcome, err, op.Value, op.Sum)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		`{}`:                   "",
		`{"min_size": "1B"}`:   "min_size: 1 is not between 32",
		`{"max_size": "1GiB"}`: "max_size: ",
		`{"keys": {"count": 10000}, "max_size": "1MiB"}`: "",
		`{"keys": {"count": 100}, "live_keys": 2}`:       "",
		`{"live_bytes": "63KiB"}`:                        "max_size: 65536 is more than live_bytes = 64512",
		`{"live_keys": 11}`:                              "live_keys: 11 is not between 0 and keys.count = 10",
		`{"live_keys": -1}`:                              "live_keys: -1 is not between 0",
		`{"live_keys": 1}`:                               "live_keys: 1 is less than the workload's 2 clients",
		`{"low_water": 1}`:                               "low_water: 1 is not above 0 and below 1",
		`{"low_water": -0.5}`:                            "low_water: -0.5 is not above 0",
	} {
		_, err := s3.Spec().New(workload.Config{Name: "w", Target: "m:9000", Clients: 2, Processes: 2, Options: json.RawMessage(options)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}
