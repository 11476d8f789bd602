package ui_test

import (
	"os"
	"time"

	"github.com/discompose/discompose/internal/ui"
)

func ExampleUI_Event() {
	start := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	u := ui.New(ui.Options{Out: os.Stdout, Now: func() time.Time { return start }})
	defer u.Close()
	u.Event(ui.Event{At: start, Kind: ui.Stage, Name: "timeline"})
	u.Event(ui.Event{At: start.Add(5 * time.Second), Kind: ui.Fault, Name: "freeze", Text: "pause kafka (freeze)", Active: true})
	u.Event(ui.Event{At: start.Add(5100 * time.Millisecond), Kind: ui.Witness, Name: "freeze", Text: "cpu time stands still", Active: true})
	// Output:
	// +0.0s ● timeline
	//    +5.0s ▶ pause kafka (freeze)
	//    +5.1s ✓ witness: cpu time stands still
}
