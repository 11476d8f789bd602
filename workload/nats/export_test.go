package nats

// Settled opens the wait of a final read to tests.
var Settled = settled
