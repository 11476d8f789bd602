package oracle

import (
	"fmt"
	"strings"
)

// joinInts writes a list for people: "3, 5 and 8".
func joinInts(list []int64) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = fmt.Sprint(n)
	}
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " and " + words[n]
	}
	return strings.Join(words, "")
}
