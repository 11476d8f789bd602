package s3

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// metaGeneration is the metadata that carries an object's generation.
const metaGeneration = "Generation"

// session is the client of one process.
type session struct {
	system
	core      *minio.Core
	transport *http.Transport
}

// Close implements workload.Session.
func (s *session) Close() { s.transport.CloseIdleConnections() }

// Do implements workload.Session.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	var err error
	switch op.Func {
	case ledger.FuncPut:
		return outcome(s.put(ctx, op), sent.Load)
	case ledger.FuncDelete:
		return outcome(s.core.RemoveObject(ctx, s.o.Bucket, s.o.Prefix+op.Key, minio.RemoveObjectOptions{}), sent.Load)
	case ledger.FuncHead:
		err = s.head(ctx, op)
	case ledger.FuncList:
		var keys []string
		if keys, err = s.list(ctx, s.core); err == nil {
			op.Data = ledger.EncodeData(keys)
		}
	default:
		err = s.get(ctx, op)
	}
	if err != nil {
		return ledger.Failed, err
	}
	return ledger.OK, nil
}

func (s *session) put(ctx context.Context, op *ledger.Op) error {
	var data ledger.Object
	if err := ledger.DecodeData(op, &data); err != nil {
		return err
	}
	body := s.body(op.Key, op.Value, *data.Size)
	_, err := s.core.Client.PutObject(ctx, s.o.Bucket, s.o.Prefix+op.Key, bytes.NewReader(body), *data.Size, minio.PutObjectOptions{
		DisableMultipart: true, ContentType: "application/octet-stream",
		UserMetadata: map[string]string{metaGeneration: strconv.FormatInt(op.Value, 10)},
	})
	return err
}

// absent reports whether the store says that there is no such object.
func absent(err error) bool { return minio.ToErrorResponse(err).Code == minio.NoSuchKey }

func (s *session) head(ctx context.Context, op *ledger.Op) error {
	info, err := s.core.StatObject(ctx, s.o.Bucket, s.o.Prefix+op.Key, minio.StatObjectOptions{})
	there := err == nil
	data := ledger.Object{Exists: &there}
	switch {
	case there:
		op.Value, data.Size = generation(info), &info.Size
	case absent(err):
		op.Value = 0
	default:
		return err
	}
	op.Data = ledger.EncodeData(data)
	return nil
}

// generation is what an object's metadata tells; -1 where it is none of ours.
func generation(info minio.ObjectInfo) int64 {
	n, err := strconv.ParseInt(info.UserMetadata[metaGeneration], 10, 64)
	if err != nil || n <= 0 {
		return -1
	}
	return n
}

// get reads an object, or the part that op's Data names.
func (s *session) get(ctx context.Context, op *ledger.Op) error {
	var data ledger.Object
	var o minio.GetObjectOptions
	if op.Data != "" {
		if err := ledger.DecodeData(op, &data); err != nil {
			return err
		}
		if err := o.SetRange(data.Range[0], data.Range[1]-1); err != nil {
			return err
		}
	}
	stream, info, header, err := s.core.GetObject(ctx, s.o.Bucket, s.o.Prefix+op.Key, o)
	if absent(err) {
		op.Value = 0
		return nil
	}
	if err != nil {
		return err
	}
	body, err := io.ReadAll(stream)
	if cerr := stream.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	size := int64(len(body))
	if data.Range != nil {
		if size, err = wholeSize(header); err != nil {
			return err
		}
	}
	data.Size = &size
	s.look(op, data, generation(info), body)
	op.Data = ledger.EncodeData(data)
	return nil
}

// wholeSize is the object's size in the answer to a request for a part.
func wholeSize(header http.Header) (int64, error) {
	text := header.Get("Content-Range") // bytes 0-9/100
	_, size, _ := strings.Cut(text, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the answer has Content-Range %q: %w", text, err)
	}
	return n, nil
}

// mostDerived bounds the size of a body that is derived to be compared: a store that is wrong may tell any size.
const mostDerived = 2 * mostSize

// look tells which generation a body is, and whether all its bytes are right. Body and metadata of different generations
// are wrong bytes.
func (s *session) look(op *ledger.Op, data ledger.Object, told int64, body []byte) {
	op.Value, op.Sum = told, 0
	if data.Range == nil {
		value, sum := workload.CheckBody(body, s.seedOf(op.Key), len(body))
		if sum == 0 && value != told {
			sum = sumOf(body)
		}
		op.Sum = sum
		return
	}
	from, to := data.Range[0], min(data.Range[1], *data.Size)
	if *data.Size > mostDerived || from > to || told <= 0 || !bytes.Equal(body, s.body(op.Key, told, max(*data.Size, workload.MinBody))[from:to]) {
		op.Sum = sumOf(body)
	}
}

func sumOf(body []byte) uint32 {
	return max(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), 1)
}

// outcome is what the error of a put or a delete proves.
func outcome(err error, sent func() bool) (ledger.Outcome, error) {
	if err == nil {
		return ledger.OK, nil
	}
	if !sent() {
		return ledger.Failed, err
	}
	answer := minio.ToErrorResponse(err)
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusLengthRequired, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return ledger.Failed, err
	case http.StatusServiceUnavailable:
		if answer.Code == "XMinioServerNotInitialized" {
			return ledger.Failed, err
		}
	}
	return ledger.Unknown, err
}
