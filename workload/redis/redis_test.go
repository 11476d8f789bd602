package redis_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/redis"
)

// serve is a server that gives every command but PING and HELLO the same answer; "" hangs up.
func serve(t *testing.T, answer string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go converse(c, answer)
		}
	}()
	return l.Addr().String()
}

func converse(c net.Conn, answer string) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		words, err := command(in)
		if err != nil {
			return
		}
		reply := answer
		switch strings.ToUpper(words[0]) {
		case "PING":
			reply = "+PONG"
		case "HELLO", "CLIENT":
			reply = "-ERR unknown command"
		}
		if reply == "" {
			return
		}
		if _, err := c.Write([]byte(reply + "\r\n")); err != nil {
			return
		}
	}
}

// command reads one command: an array of texts.
func command(in *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		words[i] = string(text[:size])
	}
	return words, nil
}

func TestWhatAnAnswerProves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		write, read  ledger.Outcome
	}{
		{"ok", "+OK", ledger.OK, ""},
		{"a replica", "-READONLY You can't write against a read only replica.", ledger.Failed, ledger.Failed},
		{"loading", "-LOADING Redis is loading the dataset in memory", ledger.Failed, ledger.Failed},
		{"master down", "-MASTERDOWN Link with MASTER is down", ledger.Failed, ledger.Failed},
		{"cluster down", "-CLUSTERDOWN The cluster is down", ledger.Failed, ledger.Failed},
		{"no replicas", "-NOREPLICAS Not enough good replicas to write.", ledger.Failed, ledger.Failed},
		{"memory", "-OOM command not allowed when used memory > 'maxmemory'.", ledger.Failed, ledger.Failed},
		{"persistence", "-MISCONF Errors writing to the AOF file", ledger.Failed, ledger.Failed},
		{"hangs up", "", ledger.Unknown, ledger.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, c.answer)
			for function, want := range map[string]ledger.Outcome{ledger.FuncWrite: c.write, ledger.FuncGet: c.read} {
				s, err := redis.Connect(t.Context(), addr)
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Do(t.Context(), &ledger.Op{Func: function, Key: "0", Value: 7})
				if want != "" && got != want {
					t.Errorf("%s: %s, %v; want %s", function, got, err, want)
				}
				if alive, ok := s.(workload.Alive); got == ledger.Failed && (!ok || alive.Alive()) {
					t.Errorf("%s: the session goes on", function)
				}
				s.Close()
			}
		})
	}
}

// TestAnotherConnectionIsNeverMade: what follows a broken connection was surely not sent.
func TestAnotherConnectionIsNeverMade(t *testing.T) {
	t.Parallel()
	s, err := redis.Connect(t.Context(), serve(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, want := range []ledger.Outcome{ledger.Unknown, ledger.Failed} {
		if got, err := s.Do(t.Context(), &ledger.Op{Func: ledger.FuncWrite, Key: "0", Value: 7}); got != want {
			t.Errorf("write %d: %s, %v; want %s", i, got, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		`{}`:                   "",
		`{"model": "queue"}`:   "",
		`{"model": "stack"}`:   `model: "stack" is not one of register, set, counter, queue`,
		`{"sentinels": ["s"]}`: `sentinels[0]: "s" is not service:port`,
		`{"prefix": "*"}`:      "prefix: ",
		`{"wait": -1}`:         "wait: -1 is not between 0 and 100",
		`{"writes": 0, "reads": 0, "swaps": 0, "deletes": 0}`: "no operation has a weight",
	} {
		_, err := redis.Spec().New(workload.Config{Name: "w", Target: "db:6379", Clients: 1, Options: json.RawMessage(options)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}
