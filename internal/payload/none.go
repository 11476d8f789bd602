//go:build !payload

package payload

import (
	"embed"
	"io/fs"
)

func files() fs.FS { return embed.FS{} }
