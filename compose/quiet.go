package compose

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	dcontext "github.com/docker/cli/cli/context"
	"github.com/sirupsen/logrus"
)

// quietSDK keeps the SDK's process-wide logger off standard error; what it warns of is collected by warnings.
func quietSDK() { logrus.SetOutput(io.Discard) }

// warnings collects what the SDK's logger warns of between listen and stop.
type warnings struct {
	mu      sync.Mutex
	stopped bool
	lines   []string
}

// listen starts to collect. A hook cannot be taken off the logger without a race, so a stopped one only forgets.
func listen() *warnings {
	quietSDK()
	w := &warnings{}
	logrus.AddHook(w)
	return w
}

// Levels implements logrus.Hook.
func (w *warnings) Levels() []logrus.Level {
	return []logrus.Level{logrus.WarnLevel, logrus.ErrorLevel}
}

// Fire implements logrus.Hook.
func (w *warnings) Fire(e *logrus.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped && !slices.Contains(w.lines, e.Message) {
		w.lines = append(w.lines, e.Message)
	}
	return nil
}

func (w *warnings) stop() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	return w.lines
}

// addTLSData puts the endpoint's certificates into a TLS configuration.
func addTLSData(cfg *tls.Config, data *dcontext.TLSData) error {
	if len(data.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(data.CA) {
			return errors.New("read ca.pem of the endpoint: no certificate in it")
		}
	}
	if len(data.Key) > 0 && len(data.Cert) > 0 {
		pair, err := tls.X509KeyPair(data.Cert, data.Key)
		if err != nil {
			return fmt.Errorf("read key of the endpoint: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return nil
}
