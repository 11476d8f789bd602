package reports

import (
	"strings"
	"unicode/utf8"
)

// table is a Markdown table whose source is aligned too, so that it reads well on a terminal. A header that starts with
// ">" makes its column right-aligned.
type table struct {
	head []string
	rows [][]string
	pad  int // the most that a column is padded to: one long cell does not widen every row
}

func newTable(head ...string) *table { return &table{head: head, pad: 40} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// String is the table with its last newline; empty without a row.
func (t *table) String() string {
	if len(t.rows) == 0 {
		return ""
	}
	widths := make([]int, len(t.head))
	right := make([]bool, len(t.head))
	head := make([]string, len(t.head))
	for i, h := range t.head {
		head[i], right[i] = strings.CutPrefix(h, ">")
		widths[i] = max(width(head[i]), 3)
	}
	rows := make([][]string, 0, len(t.rows))
	for _, row := range t.rows {
		cells := make([]string, len(t.head))
		for i := range cells {
			if i < len(row) {
				cells[i] = strings.ReplaceAll(row[i], "|", `\|`)
			}
			widths[i] = max(widths[i], min(width(cells[i]), t.pad))
		}
		rows = append(rows, cells)
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, c := range cells {
			pad := strings.Repeat(" ", max(widths[i]-width(c), 0))
			if right[i] {
				b.WriteString("| " + pad + c + " ")
				continue
			}
			b.WriteString("| " + c + pad + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	for i, w := range widths {
		dashes := strings.Repeat("-", w+1)
		if right[i] {
			b.WriteString("|" + dashes + ":")
			continue
		}
		b.WriteString("|" + dashes + "-")
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

func width(s string) int { return utf8.RuneCountInString(s) }
