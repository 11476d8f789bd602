package starter

import (
	"path"
	"strings"
)

// imagePort is the TCP port that a well-known image listens on by itself; 0 for any other. Source: each image's EXPOSE.
func imagePort(image string) int {
	return map[string]int{
		"nginx": 80, "httpd": 80, "caddy": 80, "traefik": 80, "haproxy": 80, "wordpress": 80, "nginx-unprivileged": 8080,
		"postgres": 5432, "postgis": 5432, "timescaledb": 5432, "pgvector": 5432, "mysql": 3306, "mariadb": 3306, "percona": 3306,
		"redis": 6379, "valkey": 6379, "keydb": 6379, "memcached": 11211, "mongo": 27017, "mongodb": 27017, "cassandra": 9042, "scylla": 9042,
		"clickhouse-server": 8123, "neo4j": 7687, "cockroach": 26257, "elasticsearch": 9200, "opensearch": 9200, "meilisearch": 7700,
		"kafka": 9092, "cp-kafka": 9092, "redpanda": 9092, "zookeeper": 2181, "cp-zookeeper": 2181, "rabbitmq": 5672, "nats": 4222,
		"activemq": 61616, "emqx": 1883, "etcd": 2379, "consul": 8500, "vault": 8200, "minio": 9000, "localstack": 4566,
		"prometheus": 9090, "grafana": 3000, "keycloak": 8080, "tomcat": 8080, "mailhog": 1025, "registry": 5000,
	}[base(image)]
}

// servesPages reports whether an image answers a request for "/" with 200 as it comes.
func servesPages(image string) bool {
	switch base(image) {
	case "nginx", "nginx-unprivileged", "httpd", "caddy":
		return true
	}
	return false
}

// base is an image's name without registry, owner, tag and digest: "postgres" of "docker.io/library/postgres:15@sha256:…".
func base(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := path.Base(image)
	name, _, _ = strings.Cut(name, ":")
	return name
}
