package ui

import "strings"

// ASCIIOnly reports whether a locale, as the environment gives it, has no UTF-8: LC_ALL, else LC_CTYPE, else LANG. None
// set is the POSIX locale.
func ASCIIOnly(getenv func(string) string) bool {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ToUpper(locale)
	return !strings.Contains(locale, "UTF-8") && !strings.Contains(locale, "UTF8")
}

// WantColor reports whether to colour: on a terminal that is not dumb, unless --no-color or NO_COLOR (https://no-color.org:
// set and not empty) says otherwise.
func WantColor(tty, noColor bool, getenv func(string) string) bool {
	return tty && !noColor && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}
