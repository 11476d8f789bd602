package workload

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
)

// produceOutcome tells what a produce promise's error says about the record. lost says that since the record was handed
// to the client, some produce request of that client was written without its answer being read: then an earlier attempt
// may have been appended, and a refusal of the last attempt proves nothing.
//
//	error                                     outcome   why
//	nil                                       ok        the broker acknowledged it (acks = "0": unknown, nobody did)
//	kgo.ErrMaxBuffered                        fail      refused before it was buffered
//	MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE  fail      the client or the broker refused it; the broker checks before it appends
//	INVALID_RECORD, INVALID_TIMESTAMP,        fail      the same
//	UNSUPPORTED_FOR_MESSAGE_FORMAT,
//	INVALID_REQUIRED_ACKS
//	INVALID_TOPIC_EXCEPTION,                  fail,     the broker looks before it appends, but an earlier attempt may have
//	UNKNOWN_TOPIC_OR_PARTITION,               if not    met a broker in another state: unknown if an answer was lost
//	UNKNOWN_TOPIC_ID, *_AUTHORIZATION_FAILED, lost
//	NOT_ENOUGH_REPLICAS, POLICY_VIOLATION
//	NOT_ENOUGH_REPLICAS_AFTER_APPEND          unknown   it is in the leader's log and may survive or not
//	REQUEST_TIMED_OUT                         unknown   the leader appended it, the replicas did not confirm in time
//	kgo.ErrRecordTimeout, ErrRecordRetries    unknown   an attempt may be in the broker's socket buffer or log
//	kgo.ErrClientClosed, ErrAborting,         unknown   the same; it was given up by us
//	context errors
//	connection errors, anything else          unknown   what is not known to be refused may have happened
//
// With unlimited retries, retriable errors (NOT_ENOUGH_REPLICAS, NOT_LEADER_OR_FOLLOWER, connection errors …) are not seen
// here: the client retries them until the delivery time-out, which is ErrRecordTimeout.
func produceOutcome(err error, acked, lost bool) ledger.Outcome {
	switch {
	case err == nil && acked:
		return ledger.OK
	case err == nil:
		return ledger.Unknown
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ledger.Unknown
	case errors.Is(err, kgo.ErrMaxBuffered), isAny(err,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp,
		kerr.UnsupportedForMessageFormat, kerr.InvalidRequiredAcks):
		return ledger.Failed
	case !lost && isAny(err,
		kerr.InvalidTopicException, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.TopicAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.NotEnoughReplicas, kerr.PolicyViolation):
		return ledger.Failed
	default:
		return ledger.Unknown
	}
}

func isAny(err error, targets ...*kerr.Error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// endOutcome tells what the error of kgo's EndTransaction says about a commit or an abort. lost says that since the call some
// request to end a transaction went without an answer: then it may have been done, and the refusal of a later attempt
// proves nothing.
//
//	error                                     outcome   why
//	nil                                       ok        the coordinator has decided so; it tells the partitions by itself
//	OPERATION_NOT_ATTEMPTED                   fail      the client knows that its producer id is no longer good, and asked nobody
//	INVALID_PRODUCER_EPOCH, PRODUCER_FENCED   fail,     the coordinator has aborted the transaction (it took too long), or
//	                                          if not    somebody else has fenced the producer
//	                                          lost
//	INVALID_TXN_STATE, TRANSACTION_ABORTABLE, the same  it is open no longer, or may only be aborted
//	INVALID_PRODUCER_ID_MAPPING,
//	UNKNOWN_PRODUCER_ID,
//	*_AUTHORIZATION_FAILED
//	context errors, connection errors,        unknown   the coordinator may have done it, or still will
//	anything else
//
// The client itself asks again where the coordinator moves, is not ready (NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS) or
// still ends the transaction (CONCURRENT_TRANSACTIONS).
func endOutcome(err error, lost bool) ledger.Outcome {
	switch {
	case err == nil:
		return ledger.OK
	case isAny(err, kerr.OperationNotAttempted):
		return ledger.Failed
	case !lost && isAny(err,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState, kerr.TransactionAbortable, kerr.InvalidProducerIDMapping,
		kerr.UnknownProducerID, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed):
		return ledger.Failed
	default:
		return ledger.Unknown
	}
}

// Keys of requests that answerWatch looks for.
const (
	requestProduce int16 = 0
	requestEndTxn  int16 = 26
)

// answerWatch is a kgo hook that keeps when a request of one key last went without an answer.
type answerWatch struct {
	key  int16
	lost *atomicInstant
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (w answerWatch) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key == w.key && e2e.Err() != nil {
		w.lost.Store(Now())
	}
}
