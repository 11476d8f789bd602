package postgres_test

import (
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/workload/postgres"
)

// TestACommitWithoutAnAnswerIsUnknown has a server that reads a COMMIT and hangs up: it may have carried it out.
func TestACommitWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	never := 0
	drivertest.UnknownWithoutAnAnswer(t, postgres.Spec(), postgres.Options{Model: "append", Reads: &never}, func(c net.Conn) {
		_ = untilCommit(c) // it ends with the connection, one way or the other
	})
}

// untilCommit is a server that says yes to everything up to a COMMIT.
func untilCommit(c net.Conn) error {
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return err
	}
	b.Send(&pgproto3.AuthenticationOk{})
	status := byte('I')
	ready := func() error {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: status})
		return b.Flush()
	}
	if err := ready(); err != nil {
		return err
	}
	for {
		m, err := b.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			if strings.EqualFold(m.String, "commit") {
				return nil
			}
			status = 'T'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
			err = ready()
		case *pgproto3.Parse:
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			b.Send(&pgproto3.ParameterDescription{ParameterOIDs: make([]uint32, 2)})
			b.Send(&pgproto3.NoData{})
		case *pgproto3.Bind:
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")})
		case *pgproto3.Sync:
			err = ready()
		case *pgproto3.Terminate:
			return nil
		}
		if err != nil {
			return err
		}
	}
}
