package compose

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var wordPattern = regexp.MustCompile(`[a-z]+`)

// isHostKey reports whether a key, flag or variable of that name holds hosts: DB_HOST, PGHOST, bootstrapServers, replicaof.
func isHostKey(key string) bool {
	all := wordPattern.FindAllString(strings.ToLower(key), -1)
	if len(all) == 0 {
		return false
	}
	if last := all[len(all)-1]; slices.Contains(notHosts, last) && (last != "name" || len(all) < 2 || all[len(all)-2] != "host") {
		return false
	}
	return slices.ContainsFunc(all, func(w string) bool {
		return slices.ContainsFunc(hostWords, func(h string) bool {
			return strings.HasSuffix(w, h) || strings.HasSuffix(w, h+"s") || strings.HasSuffix(w, h+"es")
		}) || w == "source" // Data Source=db
	})
}

//nolint:gochecknoglobals // constant lists
var (
	// hostWords end a word of a key that holds hosts, in the singular.
	hostWords = []string{
		"host", "hostname", "addr", "address", "server", "endpoint", "broker", "url", "uri", "dsn", "node", "peer",
		"upstream", "target", "backend", "bootstrap", "seed", "quorum", "replicaof", "slaveof", "sentinel", "proxy", "point",
		"connect", "cluster", "primary", "replica",
	}
	// notHosts end a key that holds something else of a host, or nothing of one.
	notHosts = []string{
		"name", "id", "env", "role", "user", "username", "password", "pass", "secret", "db", "database", "type", "mode", "key", "path",
		"image", "version", "tag", "group", "topic", "label", "prefix", "driver", "scheme", "protocol", "dialect", "engine", "port",
	}
)

// isImageKey reports whether a variable of that name holds an image or a version, where redis:7 is no address.
func isImageKey(key string) bool {
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "image") || strings.HasSuffix(key, "version") || strings.HasSuffix(key, "tag")
}

// siblingPort is the port that a variable beside the one that holds a host gives: DB_HOST and DB_PORT, PGHOST and PGPORT,
// DB and DB_PORT. env has its names in lower case.
func siblingPort(env map[string]string, key string) int {
	key = strings.ToLower(key)
	candidates := []string{key + "_port", key + "port", key + ".port"}
	for _, h := range []string{"hostname", "host", "address", "addr", "server", "endpoint"} {
		if n := strings.LastIndex(key, h); n >= 0 {
			candidates = append(candidates, key[:n]+"port"+key[n+len(h):])
		}
	}
	for _, c := range candidates {
		if n := portOf(env[c]); n > 0 {
			return n
		}
	}
	return 0
}

// schemePort is the port that a URL of the scheme means when it names none, 0 where there is no such port. Sources: IANA's
// registry, and where the protocol has none there its servers' own documentation.
func schemePort(scheme string) int {
	scheme = strings.ToLower(scheme)
	if port, whole := map[string]int{
		"redis+sentinel": 26379,
		"mongodb+srv":    0, // the port is in DNS
	}[scheme]; whole {
		return port
	}
	base, _, _ := strings.Cut(scheme, "+") // postgresql+asyncpg
	return map[string]int{
		"http": 80, "ws": 80, "https": 443, "wss": 443,
		"postgres": 5432, "postgresql": 5432, "pgsql": 5432,
		"mysql": 3306, "mysql2": 3306, "mysqlx": 3306, "mariadb": 3306,
		"redis": 6379, "rediss": 6379, "valkey": 6379, "memcached": 11211,
		"mongodb": 27017, "cassandra": 9042, "clickhouse": 9000, "bolt": 7687, "neo4j": 7687,
		"sqlserver": 1433, "mssql": 1433, "oracle": 1521,
		"amqp": 5672, "amqps": 5671, "nats": 4222, "mqtt": 1883, "mqtts": 8883,
		"ldap": 389, "ldaps": 636, "smtp": 25, "smtps": 465, "ftp": 21, "ssh": 22, "sftp": 22,
	}[base]
}

func portOf(text string) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 1<<16 {
		return n
	}
	return 0
}
