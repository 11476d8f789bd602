// Package s3 provides the driver of object stores with the S3 API, for the check objects. An object's generation is in its
// metadata and in its body, which is derived from seed, key and generation, so that a read is checked byte by byte.
//
// What an error means, of a put or a delete:
//
//	error                                            outcome  why
//	none                                             ok       the store said so
//	no connection was had                            fail     nothing was sent (net/http's trace saw none)
//	400, 401, 403, 404, 405, 411, 412, 413, 429      fail     the store refuses the request
//	503 with XMinioServerNotInitialized              fail     the store says that it did not begin
//	any other answer: 409, 500, 503 without a write  unknown  some of the store's disks or servers may have it; MinIO has said
//	  quorum (SlowDown, SlowDownWrite), 507, a                SlowDown of a quorum that was lost as well as of a load that it
//	  proxy's 502                                             turned away
//	a deadline, a connection that broke              unknown  it may have been done
//	any error of what only reads                     fail     it changes nothing; 404 of an object is an answer: absent
//
// A request is made once (MaxRetries 1); net/http repeats a put or delete only where nothing of it was written. The package
// imports only workload, ledger and units of this module; its types are safe for concurrent use.
package s3

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Spec describes the driver.
func Spec() workload.Spec {
	return workload.LoopSpec("s3", func(c *workload.Config, o Options) (workload.System, error) {
		if err := o.ForClients(c.Processes); err != nil {
			return nil, fmt.Errorf("options: %w", err)
		}
		return newSystem(*c, o.WithDefaults()), nil
	})
}

type system struct {
	target string
	seed   int64
	o      Options
	mix    []workload.Weight
	keys   workload.Keys
	live   *workload.Live
}

func newSystem(c workload.Config, o Options) system {
	live := workload.NewLive(o.bounds().Share(c.Clients, c.Processes))
	return system{target: c.Target, seed: c.Seed, o: o, mix: o.mix(), keys: o.Keys.Keys(), live: live}
}

// dialTime is how long a client waits for a connection.
const dialTime = 2 * time.Second

// client makes a client with one connection of its own.
func (s system) client() (*minio.Core, *http.Transport, error) {
	t := &http.Transport{DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, MaxIdleConnsPerHost: 1, DisableCompression: true}
	c, err := minio.NewCore(s.target, &minio.Options{
		Creds: credentials.NewStaticV4(s.o.AccessKey, s.o.SecretKey, ""), Secure: s.o.Secure, Region: s.o.Region, Transport: t, MaxRetries: 1,
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make a client of %s: %w", s.target, err)
	}
	return c, t, nil
}

// Setup makes the bucket, and refuses a prefix under which objects are there already.
func (s system) Setup(ctx context.Context) error {
	c, t, err := s.client()
	if err != nil {
		return err
	}
	defer t.CloseIdleConnections()
	there, err := c.BucketExists(ctx, s.o.Bucket)
	if err == nil && !there {
		err = c.MakeBucket(ctx, s.o.Bucket, minio.MakeBucketOptions{Region: s.o.Region})
	}
	if err != nil {
		switch minio.ToErrorResponse(err).Code {
		case "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "InvalidBucketName":
			err = fmt.Errorf("%w: %w", err, workload.ErrPermanent)
		}
		return fmt.Errorf("make bucket %s: %w", s.o.Bucket, err)
	}
	keys, err := s.list(ctx, c)
	if err != nil {
		return fmt.Errorf("list bucket %s: %w", s.o.Bucket, err)
	}
	if len(keys) > 0 {
		return fmt.Errorf("%d objects are below %q: %w: %w", len(keys), s.o.Prefix, workload.ErrNotEmpty, workload.ErrPermanent)
	}
	return nil
}

// list reads all keys, without their prefix.
func (s system) list(ctx context.Context, c *minio.Core) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	keys := []string{}
	for o := range c.Client.ListObjects(ctx, s.o.Bucket, minio.ListObjectsOptions{Prefix: s.o.Prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		keys = append(keys, o.Key[min(len(s.o.Prefix), len(o.Key)):])
	}
	return keys, ctx.Err()
}

// Next implements workload.System.
func (s system) Next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, s.mix), Key: strconv.Itoa(s.keys.Pick(r, t.K))}
	switch op.Func {
	case ledger.FuncPut:
		size := s.size(r)
		op.Value, op.Data = t.Fresh, ledger.EncodeData(ledger.Object{Size: &size})
	case ledger.FuncList:
		op.Key = ""
	case part: // of an object whose size nobody knows yet; what is behind its end is not asked for
		from := r.Int64N(int64(s.o.MinSize))
		op.Func, op.Data = ledger.FuncGet, ledger.EncodeData(ledger.Object{Range: &[2]int64{from, from + 1 + r.Int64N(int64(s.o.MinSize)-from)}})
	}
	return op
}

// Govern implements workload.Governor.
func (s system) Govern(op ledger.Op) (ledger.Op, func(ledger.Outcome)) { return s.live.Govern(op) }

// size draws a size, each order of magnitude as likely as any other.
func (s system) size(r *rand.Rand) int64 {
	low, high := math.Log(float64(s.o.MinSize)), math.Log(float64(s.o.MaxSize))
	return min(max(int64(math.Exp(low+r.Float64()*(high-low))), int64(s.o.MinSize)), int64(s.o.MaxSize))
}

// body derives the body of a generation of a key.
func (s system) body(key string, generation, size int64) []byte {
	return workload.AppendBody(nil, s.seedOf(key), generation, int(size))
}

// seedOf makes the bodies of two keys differ.
func (s system) seedOf(key string) int64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d\x00%s", s.seed, key) // a hash does not fail
	return int64(h.Sum64())                        //nolint:gosec // any bits are a seed
}

// Connect makes a client; its connection comes with the first request.
func (s system) Connect(context.Context, int) (workload.Session, error) {
	c, t, err := s.client()
	if err != nil {
		return nil, err
	}
	return &session{system: s, core: c, transport: t}, nil
}

// Final reads every object that may be there, or is listed, then those that should be gone, for workload.GoneTime at most, and the
// list. Other containers of the workload may have put and deleted what this one knows nothing of: the list tells of it.
func (s system) Final(ctx context.Context) (ops []ledger.Op, err error) {
	c, t, err := s.client()
	if err != nil {
		return nil, err
	}
	one := &session{system: s, core: c, transport: t}
	defer one.Close()
	take := func(op ledger.Op) error {
		op.Partition, op.Offset, op.Invoke = -1, -1, workload.Now()
		outcome, err := one.Do(ctx, &op)
		if outcome != ledger.OK {
			return errors.Join(fmt.Errorf("%s %s", op.Func, op.Key), err)
		}
		op.Complete = workload.Now()
		ops = append(ops, op)
		return nil
	}
	listed, err := s.list(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", s.o.Bucket, err)
	}
	there, gone := s.live.Keys(listed)
	for _, key := range there {
		if err := take(ledger.Op{Func: ledger.FuncGet, Key: key}); err != nil {
			return nil, err
		}
	}
	until := time.Now().Add(workload.GoneTime)
	for i := 0; i < len(gone) && time.Now().Before(until); i++ {
		if err := take(ledger.Op{Func: ledger.FuncGet, Key: gone[i]}); err != nil {
			return nil, err
		}
	}
	if err := take(ledger.Op{Func: ledger.FuncList}); err != nil {
		return nil, err
	}
	var keys []string
	if err := ledger.DecodeData(&ops[len(ops)-1], &keys); err != nil {
		return nil, err
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(len(keys))}), nil
}
