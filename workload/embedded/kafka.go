// Package embedded provides the services that stand in for an image that cannot be had: a Kafka broker, franz-go's kfake
// with a data directory.
//
// A stand-in keeps the protocol and its own data, not the real system's replication or failure modes. Every function
// runs in the caller's goroutine and ends with its context. The package imports nothing of this module.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaOptions is the environment of the stand-in broker, named as the apache/kafka image names it. The zero value
// listens on port 9092 and keeps its data in DefaultKafkaDir.
type KafkaOptions struct {
	Listeners  string    // KAFKA_LISTENERS: NAME://host:port, comma between; listeners named CONTROLLER are left out, the first other one is served
	Advertised string    // KAFKA_ADVERTISED_LISTENERS: what clients are told, by listener name; else host name and port
	Dir        string    // KAFKA_LOG_DIRS: the data directory, the first of several
	Partitions int       // KAFKA_NUM_PARTITIONS; 0: 1
	AutoCreate bool      // KAFKA_AUTO_CREATE_TOPICS_ENABLE
	Host       string    // name that is told where Advertised has none
	Log        io.Writer // nil: nothing
}

// DefaultKafkaDir is where a broker without KAFKA_LOG_DIRS keeps its data.
const DefaultKafkaDir = "/var/lib/kafka/data"

// KafkaFromEnv reads options from the environment that lookup gives (os.LookupEnv). Errors name the variable.
func KafkaFromEnv(lookup func(string) (string, bool)) (KafkaOptions, error) {
	get := func(name, fallback string) string {
		if v, ok := lookup(name); ok && v != "" {
			return v
		}
		return fallback
	}
	o := KafkaOptions{
		Listeners:  get("KAFKA_LISTENERS", ""),
		Advertised: get("KAFKA_ADVERTISED_LISTENERS", ""),
		Dir:        get("KAFKA_LOG_DIRS", ""),
		Host:       get("HOSTNAME", "localhost"),
	}
	var errs []error
	var err error
	if o.Partitions, err = strconv.Atoi(get("KAFKA_NUM_PARTITIONS", "1")); err != nil || o.Partitions < 1 {
		errs = append(errs, fmt.Errorf("KAFKA_NUM_PARTITIONS: %q is not a positive number", get("KAFKA_NUM_PARTITIONS", "1")))
	}
	if o.AutoCreate, err = strconv.ParseBool(get("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "true")); err != nil {
		errs = append(errs, errors.New("KAFKA_AUTO_CREATE_TOPICS_ENABLE: write true or false"))
	}
	if _, _, err := o.addresses(); err != nil {
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// ServeKafka serves one broker until ctx ends, then closes it in order. Every batch is fsynced before it is acknowledged,
// so that an acknowledged record outlives SIGKILL and a crash of the host; so does the memory of idempotent producers,
// which is rebuilt from the log.
func ServeKafka(ctx context.Context, o KafkaOptions) error {
	listen, tell, err := o.addresses()
	if err != nil {
		return err
	}
	_, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("KAFKA_LISTENERS: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return fmt.Errorf("KAFKA_LISTENERS: port: %w", err)
	}
	if err := restoreProducers(o.dir()); err != nil {
		return fmt.Errorf("restore producers in %s: %w", o.dir(), err)
	}
	opts := []kfake.Opt{
		kfake.Ports(port),
		kfake.DataDir(o.dir()),
		kfake.SyncWrites(),
		kfake.DefaultNumPartitions(max(o.Partitions, 1)),
		kfake.BrokerConfigs(map[string]string{"default.replication.factor": "1"}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			var c net.ListenConfig
			l, err := c.Listen(ctx, network, listen)
			if err != nil {
				return nil, err
			}
			return listener{l, advertised(tell)}, nil
		}),
	}
	if o.AutoCreate {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if o.Log != nil {
		opts = append(opts, kfake.WithLogger(kfake.BasicLogger(o.Log, kfake.LogLevelWarn)))
	}
	broker, err := kfake.NewCluster(opts...)
	if err != nil {
		return fmt.Errorf("start embedded broker on %s: %w", listen, err)
	}
	defer broker.Close()
	if o.Log != nil {
		_, _ = fmt.Fprintf(o.Log, "embedded broker (not Apache Kafka) on %s, advertised as %s, data in %s\n", listen, tell, o.dir())
	}
	<-ctx.Done()
	return nil
}

// PingKafka asks the broker at addr for its metadata; nil says that it serves. It does not retry.
func PingKafka(ctx context.Context, addr string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.RequestRetries(0),
		kgo.RetryTimeout(time.Second), kgo.DialTimeout(2*time.Second))
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		return fmt.Errorf("ping %s: %w", addr, err)
	}
	return nil
}

func (o KafkaOptions) dir() string {
	first, _, _ := strings.Cut(o.Dir, ",")
	if first = strings.TrimSpace(first); first != "" {
		return first
	}
	return DefaultKafkaDir
}

// addresses are where the broker listens and what it tells clients.
func (o KafkaOptions) addresses() (listen, tell string, err error) {
	bound := o.Listeners
	if bound == "" {
		bound = "PLAINTEXT://:9092"
	}
	names, addresses, err := parseListeners(bound)
	if err != nil {
		return "", "", fmt.Errorf("KAFKA_LISTENERS: %w", err)
	}
	listen = addresses[names[0]]
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", "", fmt.Errorf("KAFKA_LISTENERS: %w", err)
	}
	host := o.Host
	if host == "" {
		host = "localhost"
	}
	if o.Advertised == "" {
		return listen, net.JoinHostPort(host, port), nil
	}
	told, advertised, err := parseListeners(o.Advertised)
	if err != nil {
		return "", "", fmt.Errorf("KAFKA_ADVERTISED_LISTENERS: %w", err)
	}
	tell, ok := advertised[names[0]]
	if !ok {
		tell = advertised[told[0]]
	}
	h, p, err := net.SplitHostPort(tell)
	if err != nil {
		return "", "", fmt.Errorf("KAFKA_ADVERTISED_LISTENERS: %w", err)
	}
	if h == "" {
		h = host
	}
	return listen, net.JoinHostPort(h, p), nil
}

// parseListeners splits NAME://host:port, comma between, into names in order and addresses by name, without controllers.
func parseListeners(s string) (names []string, addresses map[string]string, err error) {
	addresses = map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		name, address, ok := strings.Cut(strings.TrimSpace(part), "://")
		if !ok {
			return nil, nil, fmt.Errorf("%q is not NAME://host:port", part)
		}
		if strings.Contains(strings.ToUpper(name), "CONTROLLER") {
			continue
		}
		names, addresses[name] = append(names, name), address
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("%q has no listener for clients", s)
	}
	return names, addresses, nil
}

// listener tells clients another address than the one it is bound to.
type listener struct {
	net.Listener
	tell advertised
}

// Addr is what the broker advertises.
func (l listener) Addr() net.Addr { return l.tell }

type advertised string

// Network implements net.Addr.
func (advertised) Network() string { return "tcp" }

// String implements net.Addr.
func (a advertised) String() string { return string(a) }
