package cli

import (
	"os"

	"github.com/discompose/discompose/reports"
)

// github reads what GitHub Actions tells a step; nil elsewhere. It is the only place that reads the environment of a CI.
func github() *reports.GitHub {
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	folder, err := os.Getwd()
	if err != nil {
		folder = "" // files that are named relative to it have no line then
	}
	return &reports.GitHub{Workspace: os.Getenv("GITHUB_WORKSPACE"), Folder: folder, Summary: os.Getenv("GITHUB_STEP_SUMMARY")}
}
