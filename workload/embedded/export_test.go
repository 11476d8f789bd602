package embedded

// RestoreProducers opens the rebuilding of sequence windows to tests.
var RestoreProducers = restoreProducers
