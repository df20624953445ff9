"""Requests whose end is ambiguous (request smuggling): what one server takes for the body is
another request for the next server, and another client would get its answer."""

from wire import request

HIDDEN = request("/size/1.bin")
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
LENGTH = f"Content-Length: {len(HIDDEN)}"

# The method, the header lines and what follows the head; and moss's status.
PROBES = {
    "GET with a body": ("GET", [LENGTH], HIDDEN, 400),
    "HEAD with a body": ("HEAD", [LENGTH], HIDDEN, 400),
    "GET that would wait": ("GET", [LENGTH, "Expect: 100-continue"], HIDDEN, 400),
    "POST with a body": ("POST", [LENGTH], HIDDEN, 405),
    "DELETE with a body": ("DELETE", [LENGTH], HIDDEN, 405),
    "GET in chunks": ("GET", ["Transfer-Encoding: chunked"], CHUNKED, 400),
    "POST in chunks": ("POST", ["Transfer-Encoding: chunked"], CHUNKED, 400),
    "CL.TE": (
        "POST",
        [f"Content-Length: {len(HIDDEN) + 5}", "Transfer-Encoding: chunked"],
        b"0\r\n\r\n" + HIDDEN,
        400,
    ),
    "TE.CL": ("POST", ["Content-Length: 4", "Transfer-Encoding: chunked"], CHUNKED, 400),
    "TE.0": ("GET", ["Content-Length: 0", "Transfer-Encoding: chunked"], CHUNKED, 400),
    "two lengths": ("GET", ["Content-Length: 0", LENGTH], HIDDEN, 400),
    "two lengths, the longer one first": ("GET", [LENGTH, "Content-Length: 0"], HIDDEN, 400),
    "one length twice": ("GET", [LENGTH, LENGTH], HIDDEN, 400),
    "two lengths of zero": ("GET", ["Content-Length: 0", "Content-Length: 0"], HIDDEN, 400),
    "a list of lengths": ("GET", ["Content-Length: 0, 0"], HIDDEN, 400),
    "a signed length": ("GET", ["Content-Length: +0"], HIDDEN, 400),
    "a negative length": ("GET", ["Content-Length: -1"], HIDDEN, 400),
    "a hexadecimal length": ("GET", ["Content-Length: 0x0"], HIDDEN, 400),
    "an empty length": ("GET", ["Content-Length:"], HIDDEN, 400),
    "a length over 64 bits": ("GET", ["Content-Length: 18446744073709551616"], HIDDEN, 400),
    "chunks by another name": ("GET", ["Transfer-Encoding: xchunked"], CHUNKED, 400),
    "chunks in a list": ("GET", ["Transfer-Encoding: chunked, identity"], CHUNKED, 400),
    "chunks twice": ("GET", 2 * ["Transfer-Encoding: chunked"], CHUNKED, 400),
    "chunks behind a tab": ("GET", ["Transfer-Encoding:\tchunked"], CHUNKED, 400),
    "chunks behind a control": ("GET", ["Transfer-Encoding: \x0bchunked"], CHUNKED, 400),
    "no chunks": ("GET", ["Transfer-Encoding: identity"], HIDDEN, 400),
    "a space before the colon": ("GET", ["Transfer-Encoding : chunked"], CHUNKED, 400),
    "a folded line": ("GET", ["X: y", f" {LENGTH}"], HIDDEN, 400),
    "a bare line feed": ("GET", [f"X: y\n{LENGTH}"], HIDDEN, 400),
    "a bare carriage return": ("GET", [f"X: y\r{LENGTH}"], HIDDEN, 400),
    "a null": ("GET", ["X: y\0z"], HIDDEN, 400),
    "two hosts": ("GET", ["Host: other"], HIDDEN, 400),
}


def probe(name, target):
    """The bytes to send, and the status of moss's only answer."""
    method, lines, rest, status = PROBES[name]
    return request(target, method, lines, rest), status
