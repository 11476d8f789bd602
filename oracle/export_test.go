package oracle

// JudgeWith is Judge with other checkers.
var JudgeWith = judge
