// Package archtest holds the rules of the tree as tests: who may import whom, and that everything is documented. It
// provides nothing to import.
package archtest
