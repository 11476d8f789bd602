package oracle

import (
	"fmt"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// settle names what was found and what is missing.
func (c *objectsCheck) settle() {
	for _, charge := range c.charges {
		c.charge(charge)
	}
	for _, k := range []string{"acknowledged", "failed", "unknown", "unknown_found", "reads", "lists", "late"} {
		c.counts[k] += 0
	}
	var unread []string
	for i := range c.keys {
		k := &c.keys[i]
		if k.change.ret > 0 && k.lastRead <= k.change.ret && (!k.gone || k.lastList <= k.change.ret) {
			unread = append(unread, k.name)
		}
	}
	c.counts["keys"], c.counts["never_read"] = int64(len(c.keys)), int64(len(unread))
	lax := c.options.Reads == eventual || c.options.List == eventual
	switch {
	case c.counts["acknowledged"] == 0:
		c.thin("no put or delete was acknowledged, so nothing is promised")
	case c.counts["reads"]+c.counts["lists"] == 0:
		c.thin("nothing was read")
	case lax && len(c.ends) == 0:
		c.doubt("the final read has no end, and what may be behind until then proves nothing")
	case len(unread) > 0:
		c.doubt("%s not read after the last acknowledged change, which is unproven: %s", was(len(unread)), keyList(unread))
	}
}

// charge decides what an observation that contradicts a fact is called.
func (c *objectsCheck) charge(x objCharge) {
	k, o, by := &c.keys[x.key], &c.ops[x.op], x.against
	list := o.Func == ledger.FuncList
	class, promise, since := Stale, objFresh, k.lastGood
	switch {
	case x.shows == objPresent && list:
		class, promise = Resurrected, objUnlisted
	case x.shows == objPresent, x.shows != objAbsent && by.value == objAbsent:
		class, promise = Resurrected, objDeleted
	case x.shows == objAbsent:
		since = k.lastSeen
		if list {
			promise = objListed
		}
	}
	lost := class == Stale && since <= o.Invoke
	if lost {
		class, promise = DataLoss, objKept
	}
	ops := []int32{x.op, by.op}
	if x.shows >= 0 {
		ops = append(ops, c.puts[x.shows].op, c.puts[x.shows].proof)
	}
	if by.value >= 0 {
		ops = append(ops, c.puts[by.value].op)
	}
	c.breach(class, promise, o.Invoke, func() string {
		text := fmt.Sprintf("%s, though %s before", c.shown(x), c.happened(by))
		if lost {
			text += ", and nothing after that shows it"
		}
		return text
	}, ops...)
}

// shown is an observation in words.
func (c *objectsCheck) shown(x objCharge) string {
	name, list := c.keys[x.key].name, c.ops[x.op].Func == ledger.FuncList
	switch {
	case x.shows == objAbsent && list:
		return fmt.Sprintf("%s misses key %s", c.subject(x.op), name)
	case x.shows == objAbsent:
		return fmt.Sprintf("%s found key %s absent", c.subject(x.op), name)
	case x.shows == objPresent:
		return fmt.Sprintf("%s shows key %s", c.subject(x.op), name)
	}
	return fmt.Sprintf("%s found generation %d of key %s", c.subject(x.op), c.ops[c.puts[x.shows].op].Value, name)
}

// happened is a fact in words.
func (c *objectsCheck) happened(f objFact) string {
	what := map[int32]string{objAbsent: "found it absent", objPresent: "found it there"}[f.value]
	switch fn := c.ops[f.op].Func; {
	case fn == ledger.FuncDelete:
		what = "had deleted it"
	case f.value == objPresent && fn == ledger.FuncList:
		what = "showed it"
	case f.value == objAbsent && fn == ledger.FuncList:
		what = "did not show it"
	case fn == ledger.FuncPut:
		what = fmt.Sprintf("had put generation %d", c.ops[f.op].Value)
	case f.value >= 0:
		what = fmt.Sprintf("found generation %d", c.ops[c.puts[f.value].op].Value)
	}
	return strings.TrimSpace(fmt.Sprintf("operation %d (%s) %s", c.ops[f.op].ID, c.ops[f.op].Func, what))
}
