package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Options is the options table of the postgres driver. A zero field means its default.
type Options struct {
	Model       string              `toml:"model" json:"model,omitempty" default:"register" enum:"register|set|bank|append|counter" doc:"what the operations are, and so which check judges them: register: upserts, reads, compare-and-swaps and deletes of rows; set: inserts; bank: transfers between accounts, and snapshots of all; append: transactions that append to lists and read them; counter: increments of one row"`
	User        string              `toml:"user" json:"user,omitempty" default:"postgres" doc:"the role"`
	Password    string              `toml:"password" json:"password,omitempty" default:"postgres" doc:"its password"`
	Database    string              `toml:"database" json:"database,omitempty" doc:"the database; default: the role's name"`
	Servers     []string            `toml:"servers" json:"servers,omitempty" doc:"the servers of a group, as in [\"pg1:5432\", \"pg2:5432\"]: a client connects to the first of them that takes writes; default: the target alone"`
	URL         string              `toml:"url" json:"url,omitempty" doc:"the whole connection string (postgres://…), instead of user, password, database, servers and the target; then the target only says which link is meant"`
	Isolation   string              `toml:"isolation" json:"isolation,omitempty" enum:"serializable|repeatable read|read committed" doc:"the isolation level of every transaction, and of statements outside one; default: serializable for bank and append, else the server's"`
	SyncCommit  string              `toml:"synchronous_commit" json:"synchronous_commit,omitempty" enum:"on|off|local|remote_write|remote_apply" doc:"what a commit waits for; default: the server's setting. off: an acknowledged commit may be lost in a crash"`
	Prefix      string              `toml:"prefix" json:"prefix,omitempty" default:"discompose_" doc:"before the names of the tables, which the driver makes; they must be empty when the run begins"`
	Connections int                 `toml:"connections" json:"connections,omitempty" default:"64" doc:"connections of all clients together: clients whose answers are late get others, up to so many"`
	Keys        workload.KeyOptions `toml:"keys" json:"keys,omitzero" doc:"register and append: the keys; append: those that are in use at a time"`
	Writes      *int                `toml:"writes" json:"writes,omitempty" phase:"yes" doc:"weight of what writes: upserts, inserts, transfers, increments, and steps that append. Default: register, bank and counter 4, set and append 1"`
	Reads       *int                `toml:"reads" json:"reads,omitempty" phase:"yes" doc:"weight of what reads: a row, the whole set, all balances, the count, and steps that read. Default: register 4, bank, counter and append 1, set 0"`
	Swaps       *int                `toml:"swaps" json:"swaps,omitempty" default:"2" phase:"yes" doc:"register: weight of compare-and-swaps, each from the value that its client saw last"`
	Deletes     *int                `toml:"deletes" json:"deletes,omitempty" default:"1" phase:"yes" doc:"register: weight of deletes"`
	Accounts    int                 `toml:"accounts" json:"accounts,omitempty" default:"8" doc:"bank: how many accounts there are"`
	Balance     int64               `toml:"balance" json:"balance,omitempty" default:"100" doc:"bank: what each account holds in the beginning"`
	Steps       int                 `toml:"steps" json:"steps,omitempty" default:"4" phase:"yes" doc:"append: most steps of a transaction"`
	Turnover    int                 `toml:"turnover" json:"turnover,omitempty" default:"200" doc:"append: after how many transactions new keys take the place of those in use, so that lists stay short"`
}

// The models, and the isolation level that two of them begin with.
const (
	modelRegister = "register"
	modelSet      = "set"
	modelBank     = "bank"
	modelAppend   = "append"
	modelCounter  = "counter"
	serializable  = "serializable"
)

// Judged says which checks judge the operations.
func (o Options) Judged(kind string, _ json.RawMessage) error {
	return workload.JudgedBy(kind, o.WithDefaults().Model)
}

// WithDefaults is o with every zero field set to its default; weights stay as they are.
func (o Options) WithDefaults() Options {
	text := func(field *string, otherwise string) {
		if *field == "" {
			*field = otherwise
		}
	}
	number := func(field *int, otherwise int) {
		if *field == 0 {
			*field = otherwise
		}
	}
	text(&o.Model, modelRegister)
	text(&o.User, "postgres")
	text(&o.Password, "postgres")
	text(&o.Database, o.User)
	text(&o.Prefix, "discompose_")
	if o.Model == modelBank || o.Model == modelAppend {
		text(&o.Isolation, serializable)
	}
	number(&o.Connections, 64)
	number(&o.Accounts, 8)
	number(&o.Steps, 4)
	number(&o.Turnover, 200)
	if o.Balance == 0 {
		o.Balance = 100
	}
	return o
}

// mix is the operations of the model with their weights. For append they are the steps of a transaction.
func (o Options) mix() []workload.Weight {
	switch o.Model {
	case modelSet:
		return workload.PairMix(ledger.FuncAdd, o.Writes, 1, ledger.FuncList, o.Reads, 0)
	case modelBank:
		return workload.PairMix(ledger.FuncTransfer, o.Writes, 4, ledger.FuncBalances, o.Reads, 1)
	case modelAppend:
		return workload.PairMix("append", o.Writes, 1, "r", o.Reads, 1)
	case modelCounter:
		return workload.PairMix(ledger.FuncInc, o.Writes, 4, ledger.FuncGet, o.Reads, 1)
	}
	return workload.RegisterMix(o.Writes, o.Reads, o.Swaps, o.Deletes)
}

// The bounds of Options.
const (
	mostAccounts = 1000
	mostSteps    = 1 << stepBits
	mostClients  = 10_000
)

// Validate joins every problem of o, defaults applied; each names its key.
func (o Options) Validate() error {
	o = o.WithDefaults()
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	one := func(key, value string, of ...string) {
		if !slices.Contains(of, value) {
			report("%s: %q is not one of %s", key, value, strings.Join(of, ", "))
		}
	}
	between := func(key string, value, least, most int) {
		if value < least || value > most {
			report("%s: %d is not between %d and %d", key, value, least, most)
		}
	}
	one("model", o.Model, modelRegister, modelSet, modelBank, modelAppend, modelCounter)
	one("isolation", o.Isolation, "", serializable, "repeatable read", "read committed")
	one("synchronous_commit", o.SyncCommit, "", "on", "off", "local", "remote_write", "remote_apply")
	if !regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`).MatchString(o.Prefix) {
		report("prefix: %q is not up to 40 small letters, digits and _", o.Prefix)
	}
	for i, s := range o.Servers {
		if host, port, ok := strings.Cut(s, ":"); !ok || host == "" || port == "" {
			report("servers[%d]: %q is not service:port", i, s)
		}
	}
	if o.URL != "" {
		if _, err := pgx.ParseConfig(o.URL); err != nil {
			report("url: %w", err)
		}
	}
	if err := o.Keys.Validate(); err != nil {
		report("keys: %w", err)
	}
	between("connections", o.Connections, 1, mostClients)
	between("accounts", o.Accounts, 2, mostAccounts)
	between("steps", o.Steps, 1, mostSteps)
	between("turnover", o.Turnover, 1, 1_000_000)
	if o.Balance < 0 || o.Balance > 1_000_000_000 {
		report("balance: %d is not between 0 and 1000000000", o.Balance)
	}
	return errors.Join(append(errs, workload.ValidateWeights(o.mix()))...)
}

// config is how a client connects, for o with its defaults.
func (o Options) config(target string) (*pgx.ConnConfig, error) {
	text := o.URL
	if text == "" {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(o.User, o.Password), Host: target, Path: "/" + o.Database}
		query := url.Values{"sslmode": {"disable"}}
		if len(o.Servers) > 0 {
			u.Host = strings.Join(o.Servers, ",")
			query.Set("target_session_attrs", "read-write")
		}
		u.RawQuery = query.Encode()
		text = u.String()
	}
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("read the connection string: %w", err)
	}
	c.ConnectTimeout = dialTime
	// One round trip a statement, and nothing that is prepared and may be gone after a failover.
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	if o.Isolation != "" {
		c.RuntimeParams["default_transaction_isolation"] = o.Isolation
	}
	if o.SyncCommit != "" {
		c.RuntimeParams["synchronous_commit"] = o.SyncCommit
	}
	c.RuntimeParams["application_name"] = "discompose"
	return c, nil
}
