package httpdriver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// bank is accounts between which money is moved.
type bank struct {
	o                  Options
	transfer, balances *call
}

// opening is how many operations a bank begins with that look at the balances, before the first transfer.
const opening = 4

func (m bank) empty(ctx context.Context, s *session) error {
	found, err := m.snapshot(ctx, s)
	if err != nil {
		return err
	}
	for i := range m.o.Accounts {
		if _, ok := found[account(i)]; !ok {
			return fmt.Errorf("there is no account %s among %d: %w", account(i), len(found), workload.ErrPermanent)
		}
	}
	return nil
}

// account is the name of an account.
func account(n int) string { return "a" + strconv.Itoa(n) }

func (m bank) next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.o.weights())}
	if t.K < opening {
		op.Func = ledger.FuncBalances
	}
	if op.Func == ledger.FuncTransfer {
		from := r.IntN(m.o.Accounts)
		to := (from + 1 + r.IntN(m.o.Accounts-1)) % m.o.Accounts
		op.Data = ledger.EncodeData(ledger.Transfer{From: account(from), To: account(to), Amount: 1 + r.Int64N(int64(m.o.Amount))})
	}
	return op
}

func (m bank) do(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error) {
	if op.Func == ledger.FuncBalances {
		found, err := m.snapshot(ctx, s)
		if err != nil {
			return ledger.Failed, err
		}
		op.Data = ledger.EncodeData(found)
		return ledger.OK, nil
	}
	var t ledger.Transfer
	if err := ledger.DecodeData(op, &t); err != nil {
		return ledger.Failed, err
	}
	return s.change(ctx, m.transfer, "", tokenFrom, t.From, tokenTo, t.To, tokenAmount, strconv.FormatInt(t.Amount, 10))
}

// snapshot reads the balances of all accounts.
func (m bank) snapshot(ctx context.Context, s *session) (map[string]int64, error) {
	body, _, err := s.ask(ctx, m.balances, maxRead)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for _, e := range m.balances.element.FindAllSubmatch(body, -1) {
		n, err := strconv.ParseInt(string(e[2]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the balance of %.40q: %w", e[1], err)
		}
		found[string(e[1])] = n
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%.40q has no balance in it", body)
	}
	return found, nil
}

func (m bank) final(ctx context.Context, s *session) ([]ledger.Op, error) {
	found, err := m.snapshot(ctx, s)
	if err != nil {
		return nil, err
	}
	return []ledger.Op{{Func: ledger.FuncBalances, Data: ledger.EncodeData(found), Partition: -1, Offset: -1}, end(1)}, nil
}
