//go:build e2e

package compose_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/discompose/discompose/compose"
)

// get asks a published port for its root page.
func get(t *testing.T, p compose.Published) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%d/", p.Host, p.HostPort), nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
