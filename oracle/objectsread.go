package oracle

import (
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// read takes in a get or a head.
func (c *objectsCheck) read(i int32, o *ledger.Op) {
	c.counts["reads"]++
	key := c.key(o.Key)
	data, err := decodeObject(o)
	if err != nil {
		c.doubt("operation %d (%s) cannot be read: %v", o.ID, o.Func, err)
		return
	}
	k := &c.keys[key]
	k.lastRead = max(k.lastRead, o.Invoke)
	c.of[i] = key
	shows := c.version(i, o, data)
	if shows == objNothing {
		return
	}
	c.shows[i] = shows
	c.returns = append(c.returns, i)
}

// version is what a get or a head shows; objNothing where that is wrong by itself.
func (c *objectsCheck) version(i int32, o *ledger.Op, data ledger.Object) int32 {
	key := c.of[i]
	if o.Value == 0 && o.Sum == 0 {
		switch {
		case data.Exists != nil && *data.Exists, data.Exists == nil && data.Size != nil:
			return c.present(i, key, data)
		}
		return objAbsent
	}
	p, ok := c.named[regNamed{key, o.Value}]
	switch {
	case o.Sum != 0:
		c.breach(Corruption, objBytes, o.Invoke, func() string {
			return fmt.Sprintf("%s found wrong bytes in key %s (CRC-32C %08x, generation %d%s)", c.subject(i), o.Key, o.Sum, o.Value, rangeText(data))
		}, append(c.writer(p, ok), i)...)
	case !ok || c.puts[p].fate == isFailed || c.ops[c.puts[p].op].Invoke > o.Complete:
		c.phantom(i, fmt.Sprintf("%s found generation %d of key %s", c.subject(i), o.Value, o.Key), p, ok)
	case data.Size != nil && c.puts[p].size >= 0 && *data.Size != c.puts[p].size:
		c.breach(Corruption, objBytes, o.Invoke, func() string {
			return fmt.Sprintf("%s found generation %d of key %s to be %d bytes long, and %d were put", c.subject(i), o.Value, o.Key, *data.Size, c.puts[p].size)
		}, c.puts[p].op, i)
	default:
		return p
	}
	return objNothing
}

func (c *objectsCheck) writer(p int32, ok bool) []int32 {
	if !ok {
		return nil
	}
	return []int32{c.puts[p].op}
}

func rangeText(data ledger.Object) string {
	if data.Range == nil {
		return ""
	}
	return fmt.Sprintf(", bytes %d to %d", data.Range[0], data.Range[1])
}

// phantom tells of a version that was not put until then.
func (c *objectsCheck) phantom(i int32, what string, p int32, known bool) {
	o := &c.ops[i]
	promise, why := objSent, "which was never put"
	switch {
	case known && c.puts[p].fate == isFailed:
		promise, why = objRefused, fmt.Sprintf("though operation %d, which put it, failed (%s)", c.ops[c.puts[p].op].ID, errorText(&c.ops[c.puts[p].op]))
	case known:
		why = fmt.Sprintf("which operation %d put only later", c.ops[c.puts[p].op].ID)
	}
	c.breach(Phantom, promise, o.Invoke, func() string { return what + ", " + why }, append(c.writer(p, known), i)...)
}

// present is what an observation of some version shows: wrong where the key was not put until then, or in another size.
func (c *objectsCheck) present(i, key int32, data ledger.Object) int32 {
	o := &c.ops[i]
	k := &c.keys[key]
	put, fits := false, data.Size == nil
	look := func(p int32) {
		if c.ops[c.puts[p].op].Invoke <= o.Complete {
			put = true
			fits = fits || c.puts[p].size < 0 || c.puts[p].size == *data.Size
		}
	}
	for n := len(k.puts) - 1; n >= 0 && (!put || !fits); n-- {
		look(k.puts[n].put)
	}
	for n := len(k.openPuts) - 1; n >= 0 && (!put || !fits); n-- {
		look(k.openPuts[n])
	}
	if !put {
		c.phantom(i, fmt.Sprintf("%s shows key %s", c.subject(i), k.name), 0, false)
		return objNothing
	}
	if !fits {
		c.breach(Corruption, objBytes, o.Invoke, func() string {
			return fmt.Sprintf("%s found key %s to be %d bytes long, which no put was", c.subject(i), k.name, *data.Size)
		}, i)
		return objNothing
	}
	return objPresent
}
