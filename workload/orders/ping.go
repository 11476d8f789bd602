package orders

import (
	"context"
	"fmt"
	"net/http"
)

// Ping asks a URL once; nil says that it answers 200. It is the health check of images without a shell.
func Ping(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is read of it
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping %s: status %d", url, resp.StatusCode)
	}
	return nil
}
