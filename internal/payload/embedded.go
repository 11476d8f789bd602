//go:build payload

package payload

import (
	"embed"
	"io/fs"
)

// embedded is made by the Makefile.
//
//go:embed linux-amd64.gz linux-arm64.gz
var embedded embed.FS

func files() fs.FS { return embedded }
