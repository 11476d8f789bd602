package workload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func TestProduceOutcome(t *testing.T) {
	t.Parallel()
	reset := &net.OpError{Op: "read", Err: &os.SyscallError{Syscall: "read", Err: syscall.ECONNRESET}}
	for _, c := range []struct {
		name       string
		err        error
		kept, lost ledger.Outcome // with every answer read; with one lost
	}{
		{"acknowledged", nil, ledger.OK, ledger.OK},
		{"not buffered", kgo.ErrMaxBuffered, ledger.Failed, ledger.Failed},
		{"too large", fmt.Errorf("%w (bytes)", kerr.MessageTooLarge), ledger.Failed, ledger.Failed},
		{"list too large", kerr.RecordListTooLarge, ledger.Failed, ledger.Failed},
		{"invalid record", kerr.InvalidRecord, ledger.Failed, ledger.Failed},
		{"invalid timestamp", kerr.InvalidTimestamp, ledger.Failed, ledger.Failed},
		{"old format", kerr.UnsupportedForMessageFormat, ledger.Failed, ledger.Failed},
		{"invalid acks", kerr.InvalidRequiredAcks, ledger.Failed, ledger.Failed},
		{"invalid topic", kerr.InvalidTopicException, ledger.Failed, ledger.Unknown},
		{"unknown topic", kerr.UnknownTopicOrPartition, ledger.Failed, ledger.Unknown},
		{"unknown topic id", kerr.UnknownTopicID, ledger.Failed, ledger.Unknown},
		{"not authorised", kerr.TopicAuthorizationFailed, ledger.Failed, ledger.Unknown},
		{"not authorised on the cluster", kerr.ClusterAuthorizationFailed, ledger.Failed, ledger.Unknown},
		{"not appended", kerr.NotEnoughReplicas, ledger.Failed, ledger.Unknown},
		{"policy", kerr.PolicyViolation, ledger.Failed, ledger.Unknown},
		{"appended, not replicated", kerr.NotEnoughReplicasAfterAppend, ledger.Unknown, ledger.Unknown},
		{"broker's time-out", kerr.RequestTimedOut, ledger.Unknown, ledger.Unknown},
		{"another leader", kerr.NotLeaderForPartition, ledger.Unknown, ledger.Unknown},
		{"sequence", kerr.OutOfOrderSequenceNumber, ledger.Unknown, ledger.Unknown},
		{"delivery time-out", kgo.ErrRecordTimeout, ledger.Unknown, ledger.Unknown},
		{"retries", kgo.ErrRecordRetries, ledger.Unknown, ledger.Unknown},
		{"closed", kgo.ErrClientClosed, ledger.Unknown, ledger.Unknown},
		{"aborting", kgo.ErrAborting, ledger.Unknown, ledger.Unknown},
		{"cancelled", context.Canceled, ledger.Unknown, ledger.Unknown},
		{"cancelled while refused", errors.Join(context.DeadlineExceeded, kerr.MessageTooLarge), ledger.Unknown, ledger.Unknown},
		{"connection reset", reset, ledger.Unknown, ledger.Unknown},
		{"end of stream", io.EOF, ledger.Unknown, ledger.Unknown},
		{"something else", errors.New("?"), ledger.Unknown, ledger.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := workload.ProduceOutcome(c.err, true, false); got != c.kept {
				t.Errorf("with every answer read: %s, want %s", got, c.kept)
			}
			if got := workload.ProduceOutcome(c.err, true, true); got != c.lost {
				t.Errorf("with an answer lost: %s, want %s", got, c.lost)
			}
			if c.err == nil {
				if got := workload.ProduceOutcome(nil, false, false); got != ledger.Unknown {
					t.Errorf("without acknowledgements: %s, want unknown", got)
				}
			}
		})
	}
}
