// Package httpdriver provides the workload driver "http": a set, log, register, counter, queue, bank or store of objects
// behind an HTTP API that its options describe. Each operation is one request (a dequeue with an acknowledgement is two),
// and what the API answered says what is known of one that changes something:
//
//	what happened                              outcome   why
//	the name has no address, connecting was    fail      nothing of the request left the client
//	refused, reset or took too long
//	the connection broke before the first      fail      the same
//	byte of the request was accepted by it
//	a status of ok (default 201, 200 and 204)  ok        it is the acknowledgement; a body that breaks off after it does not take it back
//	a status of fail (default 400 to 499       fail      the API refused the request; sent once more it would be refused again
//	without the four below)
//	408 Request Timeout                        unknown   a proxy may say so of a request that it has passed on
//	409 Conflict                               unknown   something on the way may have sent the request twice, and the first one was taken
//	425 Too Early, 429 Too Many Requests       unknown   the same: a repetition may be refused though the first one was taken
//	another 2xx                                unknown   the API took it and did something else than was agreed
//	3xx                                        unknown   redirects are not followed, and what was done before one nobody knows
//	5xx                                        unknown   an error after the write, or a proxy whose server may still be at it
//	no answer in time                          unknown   the request was sent
//	reset, end of stream, an answer that is    unknown   the same
//	no HTTP, after a byte was sent
//
//	a status of declined (default 412 of a     fail,      the API says that the request does not apply; where something
//	cas, 409 of a transfer)                    declined   on the way may send a request twice, write declined = [], and a fail
//	                                                      without that status: the second may be declined because the
//	                                                      first one was taken
//
// A status that a request's ok, fail or declined names is what they say, whatever stands here. What only reads fails where
// its answer is not whole. A dequeue whose answer breaks off is unknown; so is one whose acknowledgement is not ok, with
// the value that it was handed.
//
// A client is one connection, kept alive between requests, as a browser's or a service's pool has them; links and faults see
// real connections. The package speaks HTTP/1.1 over it by itself (the messages are net/http's): net/http's own client
// repeats a request on another connection when the first breaks, so that one add may be done twice, and hides how much of it
// was sent. Before a request, a connection that the server has closed in the meantime is replaced, as net/http does.
//
// It imports the workload package and units; a System is safe for concurrent use, a session is not.
package httpdriver
