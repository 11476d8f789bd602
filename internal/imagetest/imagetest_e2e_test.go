//go:build e2e

package imagetest_test

import (
	"testing"

	"github.com/discompose/discompose/internal/imagetest"
)

func TestAnImageThatCannotBeHadSkips(t *testing.T) {
	skipped := false
	t.Run("this skip is the point of the test", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		imagetest.Need(t, "localhost:1/no/such:1")
	})
	if !skipped {
		t.Error("the test was not skipped")
	}
}
