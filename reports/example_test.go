package reports_test

import (
	"fmt"
	"os"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

func ExampleRecord_Title() {
	r := &reports.Record{
		Run:       ledger.Run{Scenario: "kafka_broker_pause", Fallbacks: []string{"embedded broker, not Apache Kafka"}},
		Judgement: oracle.Judgement{Verdict: oracle.Pass, Primary: oracle.Degraded},
	}
	fmt.Println(r.Title())
	if err := reports.Verdict(os.Stdout, r); err != nil {
		panic(err)
	}
	// Output:
	// PASS (embedded broker, not Apache Kafka): kafka_broker_pause
	// PASS degraded
}
